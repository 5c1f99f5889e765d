import { ERRNO, type ErrnoName, FsError } from '../fs/errno.ts';
import { NotYet, type Wait } from '../fs/not-yet.ts';
import type { Call } from './call.ts';
import { OPERATIONS } from './opcodes.ts';
import type { Operation } from './operation.ts';
import { DEFERRED, type FuseRequest } from './request.ts';

/** Which requests of a session go wrong, and how. */
export interface FaultRule {
  /** Names of opcodes, without FUSE_. Default: every one but INIT and DESTROY. */
  opcode?: string | readonly string[];
  /** Only requests about this file or directory of the share, by its path from the root. Of what has several names, any is enough where the guest gives one. */
  path?: string;
  /** How many of those that fit are left alone first. Default: 0. */
  after?: number;
  /** How many of the others are met. Default: all. */
  count?: number;
  /** How likely each of them is met, 0 to 1. Default: 1. */
  probability?: number;
  /** The errno that answers; nothing is done. */
  fail?: ErrnoName;
  /**
   * Milliseconds until the request is begun with. A pair is a range, out of which each gets its own by chance: so answers come in another order than requests.
   */
  delay?: number | readonly [least: number, most: number];
  /** Nothing is done, and no answer ever comes: until the guest gives up the request, or resets the device. */
  drop?: boolean;
  /** It is done, and its answer never comes: until the guest resets the device. In a snapshot it is a request that waits, and is done once more when that is restored. */
  lose?: boolean;
  /** It is done, and the guest is told of so many bytes of answer instead of those that there are: at most those that it has room for. */
  length?: number;
}

/** What a rule has done. */
export interface MetFault {
  rule: Readonly<FaultRule>;
  opcode: string;
  nodeid: number;
  unique: bigint;
}

/** Options of {@link Faults}. */
export interface FaultOptions {
  /** What all chance is drawn from: the same requests meet the same with the same seed. Default: 1. */
  seed?: number;
  /** Default: none. */
  rules?: readonly FaultRule[];
}

/** Of {@link Faults.met} that are kept. */
const MAX_MET = 1000;
const MAX_DELAY = 2 ** 31 - 1;
/** What a session can't do without, and rules have to name. */
const ESSENTIAL = new Set(['INIT', 'DESTROY']);
const BY_NAME: ReadonlyMap<string, Operation> = new Map(
  [...OPERATIONS.values()].map((operation) => [operation.name, operation]),
);

interface Rule {
  readonly options: Readonly<FaultRule>;
  readonly opcodes: ReadonlySet<string> | undefined;
  readonly path: string | undefined;
  /** That fitted. */
  seen: number;
  /** That were met. */
  met: number;
}

/**
 * Lets requests of a session go wrong on purpose, for those who test drivers, filesystems, and programs on them. The first rule that meets a request
 * decides. Snapshots have nothing of it: what waits is asked again when they are restored, and may be met again.
 */
export class Faults {
  readonly #rules: Rule[] = [];
  readonly #met: MetFault[] = [];
  /** Requests that have been met, with their `unique`, and are begun with now or when their time has come. */
  readonly #begun = new WeakMap<FuseRequest, bigint>();
  /** What is told instead of the answer's length; DEFERRED for an answer that never comes. */
  readonly #lengths = new WeakMap<FuseRequest, number>();
  #state: number;

  /** @throws RangeError as {@link add}. */
  constructor({ seed = 1, rules = [] }: FaultOptions = {}) {
    this.#state = seed >>> 0;
    for (const rule of rules) this.add(rule);
  }

  /** The last 1000 that were met, oldest first. Borrowed. */
  get met(): readonly MetFault[] {
    return this.#met;
  }

  /** Adds a rule, behind the others. Returns what takes it away. @throws RangeError for what means nothing. */
  add(rule: FaultRule): () => void {
    const { opcode, path, after = 0, count = Infinity, probability = 1, fail, delay, drop, lose, length } = rule;
    const names = opcode === undefined ? undefined : [opcode].flat();
    // What nothing answers can't have a wrong answer.
    const wrong = names?.find((name) => BY_NAME.get(name)?.noReply ?? true);
    if (wrong !== undefined)
      throw new RangeError(
        `a fault can't be for ${JSON.stringify(wrong)}: ${BY_NAME.has(wrong) ? 'nothing answers it' : 'give names of opcodes without FUSE_, such as WRITE'}`,
      );
    if ([fail, delay, drop || undefined, lose || undefined, length].filter((each) => each !== undefined).length !== 1)
      throw new RangeError('a fault does one thing: give `fail`, `delay`, `drop`, `lose` or `length`');
    if (length !== undefined && !(Number.isInteger(length) && length >= 0))
      throw new RangeError(`an answer can't have ${length} bytes`);
    if (fail !== undefined && !Object.hasOwn(ERRNO, fail)) throw new RangeError(`there is no errno ${fail}`);
    const [least = 0, most = least] = delay === undefined ? [] : [delay].flat();
    if (!(least >= 0 && most >= least && most <= MAX_DELAY))
      throw new RangeError(`a request can't be delayed by ${least} to ${most} ms`);
    if (!(after >= 0 && count >= 0 && probability >= 0 && probability <= 1))
      throw new RangeError('`after` and `count` of a fault are 0 or more, and `probability` is 0 to 1');
    const added: Rule = {
      options: { ...rule },
      opcodes: names && new Set(names),
      path: path === undefined ? undefined : `/${path.split('/').filter(Boolean).join('/')}`,
      seen: 0,
      met: 0,
    };
    this.#rules.push(added);
    return () => {
      const at = this.#rules.indexOf(added);
      if (at >= 0) this.#rules.splice(at, 1);
    };
  }

  /** Takes all rules away. What waits goes on waiting for its time; what was dropped stays so. */
  clear(): void {
    this.#rules.length = 0;
  }

  /** To be called before a request is begun with. @throws FsError with the errno that answers it; NotYet when it has to wait. */
  meet(call: Call, operation: Operation): void {
    if (this.#rules.length === 0 || operation.noReply || this.#begun.get(call.request) === call.header.unique) return;
    const rule = this.#rules.find((each) => this.#meets(each, call, operation));
    if (!rule) return;
    rule.met++;
    const { options } = rule;
    const { nodeid, unique } = call.header;
    this.#met.push({ rule: options, opcode: operation.name, nodeid, unique });
    if (this.#met.length > MAX_MET) this.#met.shift();
    if (options.fail !== undefined) throw FsError.of(ERRNO[options.fail]);
    this.#begun.set(call.request, unique);
    if (options.lose || options.length !== undefined) {
      this.#lengths.set(call.request, options.length ?? DEFERRED);
      return;
    }
    throw new NotYet(options.drop ? never : later(this.#delayOf(options)));
  }

  /** To be called with what serving a request has returned. Returns what to return instead. */
  spoil(request: FuseRequest, length: number): number {
    const told = this.#lengths.get(request);
    if (told === undefined) return length;
    this.#lengths.delete(request);
    if (length !== DEFERRED) return told;
    const { complete } = request;
    request.complete = () => {
      if (told !== DEFERRED) complete.call(request, told);
    };
    return DEFERRED;
  }

  #meets(rule: Rule, call: Call, operation: Operation): boolean {
    const { opcodes, path, options } = rule;
    const { after = 0, count = Infinity, probability = 1 } = options;
    if (opcodes ? !opcodes.has(operation.name) : ESSENTIAL.has(operation.name)) return false;
    if (rule.met >= count || (path !== undefined && !isAbout(path, call, operation))) return false;
    if (rule.seen++ < after) return false;
    return probability >= 1 || this.#random() < probability;
  }

  #delayOf({ delay = 0 }: FaultRule): number {
    const [least, most = least] = [delay].flat() as [number, number?];
    return most > least ? least + (most - least) * this.#random() : least;
  }

  /** 0 to 1: the generator of Numerical Recipes, whose high bits are good enough. */
  #random(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }
}

const never: Wait = () => () => {};

function later(milliseconds: number): Wait {
  return (again) => {
    const timer = setTimeout(again, milliseconds);
    return () => clearTimeout(timer);
  };
}

/** Whether a request is about the file with this path: itself, or its name in its directory. */
function isAbout(path: string, { header, strings, session, filesystem }: Call, operation: Operation): boolean {
  const { nodeid } = header;
  let names: readonly string[] | undefined;
  try {
    names = filesystem.path?.(session.nodes.get(nodeid));
  } catch {
    // The guest names what it does not know.
    return false;
  }
  if (!names) return false;
  const [kind] = operation.strings;
  const own = kind === 'name' || kind === 'lookup' ? [strings[0]!] : [];
  return `/${[...names, ...own].join('/')}` === path;
}
