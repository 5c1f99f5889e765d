import { type FileStore, Recorder } from '../../device/index.ts';
import { joinSignals } from '../../device/join-signals.ts';
import { VmError } from '../machine/errors.ts';
import { printable, printableLines } from '../machine/printable.ts';
import { unlessAborted } from '../machine/unless-aborted.ts';
import { isNamed } from '../node/image.ts';
import { imageLocation } from '../node/images/share-image.ts';
import { workShare } from '../node/own-kernel.ts';
import { Vm } from '../node/vm.ts';
import type { ShareOptions, VmOptions } from '../node/vm-options.ts';
import { VmPool } from '../node/vm-pool.ts';
import { type Base, BaseStore } from './base-store.ts';
import { describeMachine, withReport } from './failure.ts';
import { fingerprintOf } from './fingerprint.ts';
import { type RunnerTest, runAs } from './runner.ts';

/** Milliseconds that a test may take. */
const PATIENCE = 60_000;
/** … and after which whoever waits for a base is told what is being done. */
const SILENCE = 5000;
/** Requests of each share that are kept for a test that fails. */
const RECORDED = 50;

/** What is done once to a machine, before it is frozen. */
export interface Preparation {
  /** A shell script that has to succeed, run in the first share's directory; or what is to be done. What still runs then goes on in each fork. */
  prepare?: string | ((vm: Vm) => unknown);
  /** What the result depends on besides the text of `prepare`, such as a version, or a hash of what it reads. */
  key?: string;
}

/** What a base machine is: a `Vm`, its shares mounted, and what was done to it. */
export interface BaseMachineOptions extends VmOptions, Preparation {
  /** Directories that the guest can mount, each mounted at its mount point; none has a `filesystem` or `volume` of its own. Default: an empty one, `share`. */
  shares?: ShareOptions[];
  /**
   * Where base machines are kept for the next run: a directory of this kit's own, `s3://BUCKET/PREFIX` for several machines, or a store. Default: what
   * `V86_VIRTIOFS_BASES` says, or `bases` in the cache directory.
   */
  store?: string | FileStore;
  /** Forks that wait, restored and paused. Default: 1. */
  size?: number;
}

/** What a test gets besides its machine. */
export interface TestInfo {
  /** Its name; '' where the runner does not tell. */
  name: string;
  /** Aborted when the test's time is up, or the runner gives it up. */
  signal: AbortSignal;
  /** What the runner gives each test: `t` of `node:test`, vitest's context, mocha's `this`; undefined of jest. */
  context: unknown;
}

/** A function that node:test, mocha, vitest and jest take for a test. */
export type TestFunction = (this: unknown, ...context: unknown[]) => Promise<void>;

interface Made {
  base: Base;
  pool: VmPool;
}

/**
 * A machine that is prepared and frozen once, and of which each test gets a fork. What was made is kept by what it was made from: the options, the guest
 * image, the content of the shares' sources, and the text of `prepare`; another process finds it there.
 */
export class BaseMachine {
  readonly #options: BaseMachineOptions;
  readonly #parent: BaseMachine | undefined;
  readonly #store: BaseStore;
  #made: Promise<Made> | undefined;
  #key: Promise<string> | undefined;
  #isClosed = false;

  /** Nothing is made before it is needed. @throws VmError `configuration`. */
  constructor(options: BaseMachineOptions = {}, parent?: BaseMachine) {
    const { shares = [{ tag: 'share' }], root } = options;
    const own = [...shares, ...(typeof root === 'object' ? [root] : [])].find(
      (share) => share.filesystem ?? (share as ShareOptions).volume,
    );
    if (own)
      throw new VmError(
        'configuration',
        `each fork has files of its own, so a share of a base machine can't have a filesystem that is there already: give \`source\`, or write the files in \`prepare\``,
      );
    this.#options = { ...options, shares };
    this.#parent = parent;
    this.#store = parent ? parent.#store : new BaseStore(options.store);
  }

  /** Another base machine, which is this one and what is done to it then. Close it too. */
  extend(preparation: Preparation): BaseMachine {
    return new BaseMachine({ ...this.#options, key: undefined, ...preparation }, this);
  }

  /** Makes it, where there is none yet, and a fork that waits: for `await baseMachine(…).ready()`, since runners limit what tests and hooks take. */
  async ready(): Promise<this> {
    const { pool } = await this.#make();
    await pool.filled();
    return this;
  }

  /** A machine that goes on where the base was frozen. It is the caller's until the end of its block with `await using`, or `vm.stop()`. */
  async fork(): Promise<Vm> {
    return this.#fork(await this.#make());
  }

  #fork({ base, pool }: Made): Promise<Vm> {
    void this.#store.touch(base);
    return pool.take();
  }

  /**
   * A test on a fork, for whichever runner. When it fails, its error says what the console and the shares' last requests were, and where the machine is
   * kept as it was then. `timeoutMs`: how long it may take, 60,000 by default; the runner's own limit holds too, but for mocha's.
   */
  test(body: (vm: Vm, info: TestInfo) => unknown, { timeoutMs = PATIENCE }: { timeoutMs?: number } = {}): TestFunction {
    const run = (test: RunnerTest) => this.#run(body, test, timeoutMs);
    // Without a parameter: mocha and jest would pass `done`.
    return function (this: unknown, ...given) {
      return runAs(this, given, run);
    };
  }

  async #run(body: (vm: Vm, info: TestInfo) => unknown, test: RunnerTest, timeoutMs: number): Promise<void> {
    // It may be closed before the end.
    const made = await this.#make();
    const vm = await this.#fork(made);
    const recorders = new Map(vm.shares.map(({ tag, device }) => [tag, new Recorder(device)]));
    for (const recorder of recorders.values()) {
      recorder.limit = RECORDED;
      recorder.isOn = true;
    }
    const { name, context } = test;
    const { signal, release } = joinSignals([test.signal], timeoutMs);
    try {
      await unlessAborted(signal, (async () => body(vm, { name, signal, context }))());
    } catch (error) {
      const records = new Map([...recorders].map(([tag, recorder]) => [tag, [...recorder.records]]));
      const report = describeMachine(vm, records, await this.#keep(vm, made.base, name), error);
      await vm.stop();
      // Nobody hears of an error any more.
      if (test.signal?.aborted) console.error(`${name}: given up by the runner\n\n${report}`);
      const isLate = signal.aborted && !test.signal?.aborted && error === signal.reason;
      throw withReport(
        isLate
          ? new VmError('timeout', `the test took longer than ${timeoutMs / 1000} s: give more \`timeoutMs\``)
          : error,
        report,
      );
    } finally {
      release();
      for (const recorder of recorders.values()) recorder.isOn = false;
    }
    void made.pool.release(vm);
  }

  /** Keeps the machine of a test that has failed. Returns what is told of that. */
  async #keep(vm: Vm, base: Base, name: string): Promise<string> {
    try {
      const { id } = await vm.freeze(base.store);
      const kept = await this.#store.keepFailure(base, id, name);
      await base.store.remove(id);
      const { location } = this.#store;
      return location === undefined
        ? `The machine is kept as it was then, as ${kept} in the store of its base.`
        : `The machine is kept as it was then. To look around in it:\n  npx v86-virtiofs ${this.#shell(location, kept).map(quoted).join(' ')}`;
    } catch (error) {
      return `The machine could not be kept: ${printable((error as Error).message.split('\n', 1)[0]!)}`;
    }
  }

  /** The words that open a shell in a machine that is kept, with what its snapshot has not. */
  #shell(location: string, id: string): string[] {
    const { shares = [], root, kernel, initrd, modules, bios } = this.#options;
    const sources = [...shares, typeof root === 'string' ? { source: root } : root];
    const elsewhere = sources.flatMap((share) => {
      const image = share?.source === undefined ? undefined : imageLocation(share.source);
      if (image !== undefined) return ['--image', image];
      return share && 'live' in share && share.live ? ['--live', share.source!] : [];
    });
    const own = [
      kernel && !isNamed(kernel) && ['--kernel', kernel],
      initrd && ['--initrd', initrd],
      modules && ['--modules', modules],
      bios && ['--bios', bios],
    ];
    const needed = [...elsewhere, ...own.flatMap((words) => words || [])];
    return [needed.length ? 'restore' : 'shell', '--store', location, ...needed, id.slice(0, 12)];
  }

  #make(): Promise<Made> {
    if (this.#isClosed) throw new VmError('stopped', 'this base machine is closed: make another one');
    return (this.#made ??= this.#makeNow());
  }

  async #makeNow(): Promise<Made> {
    const { size, store: _, prepare, key: __, ...options } = this.#options;
    let doing = 'preparing a base machine';
    const patience = setTimeout(() => console.error(`v86-virtiofs: ${doing}; it is kept for the next time`), SILENCE);
    try {
      const onProgress = (message: string) => {
        doing = message || doing;
        options.onProgress?.(message);
      };
      const base = await this.#store.provide(await this.#fingerprint(), async (store, name) => {
        const vm = await this.#begin({ ...options, onProgress });
        try {
          if (typeof prepare === 'string') await runScript(vm, prepare);
          else await prepare?.(vm);
          await vm.freeze(store, name);
        } finally {
          await vm.stop();
        }
      });
      return {
        base,
        pool: new VmPool(base.store, base.id, { ...forkOptions(options), size, checkpoints: base.store }),
      };
    } finally {
      clearTimeout(patience);
    }
  }

  async #begin(options: VmOptions): Promise<Vm> {
    if (this.#parent) return this.#parent.fork();
    const vm = await Vm.boot(options);
    return vm.orStop(async () => {
      for (const { tag, isRoot } of vm.shares) if (!isRoot) await vm.mount(tag);
      return vm;
    });
  }

  #fingerprint(): Promise<string> {
    return (this.#key ??= (async () => {
      const { prepare = '', key = '', ...options } = this.#options;
      const more = [String(prepare), key];
      return fingerprintOf(options, this.#parent ? [await this.#parent.#fingerprint(), ...more] : more);
    })());
  }

  /** Ends the forks that wait. Those that tests still have stay theirs. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const made = await this.#made?.catch(() => undefined);
    await made?.pool.close();
    made?.base.release();
  }

  /** For `await using`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A machine that is prepared and frozen once, and of which each test gets a fork: see {@link BaseMachine}. */
export function baseMachine(options?: BaseMachineOptions): BaseMachine {
  return new BaseMachine(options);
}

async function runScript(vm: Vm, script: string): Promise<void> {
  const cwd = workShare(vm)?.mountPoint;
  const { code, stdout, stderr } = await vm.exec(['/bin/sh', '-e', '-c', script], { cwd, timeoutMs: Infinity });
  if (code)
    throw new VmError(
      'guest',
      `\`prepare\` of the base machine has ended with ${code}:\n${printableLines(stdout + stderr)}`.trimEnd(),
    );
}

/** What a fork is made with: the contents of its shares are the snapshot's, but for those that are elsewhere. */
function forkOptions(options: VmOptions): VmOptions {
  const without = <S extends { source?: string; live?: boolean }>(share: S): S =>
    share.live || (share.source !== undefined && imageLocation(share.source) !== undefined)
      ? share
      : { ...share, source: undefined };
  const root = typeof options.root === 'string' ? { source: options.root } : options.root;
  return { ...options, onProgress: undefined, shares: options.shares?.map(without), root: root && without(root) };
}

function quoted(word: string): string {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
