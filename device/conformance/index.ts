/**
 * Tests for any filesystem.
 *
 * @module v86-virtiofs/conformance
 */
import type { FileSystem } from '../fs/filesystem.ts';
import { FuseSession } from '../fuse/session.ts';
import { AT_THE_SAME_TIME } from './at-the-same-time.ts';
import { type Check, STEPS, undeclared } from './check.ts';
import { type Features, lacks, type Need } from './features.ts';
import { PosixSession } from './posix-session.ts';
import { QUOTAS } from './quotas.ts';
import { WHAT_IS_THERE } from './what-is-there.ts';

export { FEATURES, type Feature, type Features, type Need } from './features.ts';

/** One test. */
export interface ConformanceScenario {
  /** What it is about: `names`, `rename`. */
  readonly subject: string;
  readonly name: string;
  /**
   * Tests the filesystem that `make` gives, a new one or the same for all; it works in a new directory in its root, or on what is there.
   * @throws Error that says what was asked, what came, and what should have.
   */
  run(make: () => FileSystem | Promise<FileSystem>): Promise<void>;
}

/** What is not tested. */
export interface LeftOut {
  readonly subject: string;
  readonly name: string;
  /** What it would take. */
  readonly needs: readonly Need[];
  /** All else of the scenario is tested, but for these fields of attributes. */
  readonly fields?: readonly string[];
}

/** What `conformance` gives for a filesystem: the tests that apply, and those that do not. */
export interface Conformance {
  readonly scenarios: readonly ConformanceScenario[];
  readonly leftOut: readonly LeftOut[];
}

let count = 0;

/**
 * The tests of a filesystem that has `features`, for any test runner. They ask a FUSE session as Linux would, root being the caller, and
 * wait for answers that come later. What needs more than it has is left out and listed; that it does not work all the same is tested too.
 *
 * ```ts
 * const { scenarios } = conformance({ hardLinks: true, modes: true });
 * for (const { subject, name, run } of scenarios) test(`${subject}: ${name}`, () => run(() => new MyFileSystem()));
 * ```
 */
export function conformance(features: Features): Conformance {
  const checks = [...STEPS, QUOTAS, ...WHAT_IS_THERE, ...AT_THE_SAME_TIME, ...undeclared(features)];
  const scenarios: ConformanceScenario[] = [];
  const leftOut: LeftOut[] = [];
  for (const check of checks) {
    const { subject, name } = check;
    const needs = lacks(features, check.needs);
    if (needs.length) {
      leftOut.push({ subject, name, needs });
      continue;
    }
    scenarios.push({ subject, name, run: (make) => runCheck(check, features, make) });
    const unseen = check.unseen?.(features);
    if (unseen?.size) leftOut.push({ subject, name, needs: [...new Set(unseen.values())], fields: [...unseen.keys()] });
  }
  return { scenarios, leftOut };
}

async function runCheck(check: Check, features: Features, make: () => FileSystem | Promise<FileSystem>): Promise<void> {
  const promised = new Set<string>();
  const filesystem = watched(await make(), (method) => promised.add(method));
  const session = new PosixSession(new FuseSession({ ...check.policy, filesystem }));
  const thrown: unknown[] = [];
  session.session.onError((error) => thrown.push(error));
  try {
    await session.init();
    session.granularity = features.timeGranularity ?? 1;
    if (!features.readOnly) await session.begin(`conformance-${++count}`);
    await check.run(session, features);
  } catch (error) {
    if (promised.size) throw brokenPromise(promised);
    throw thrown.length ? withCause(error as Error, thrown[0]) : error;
  } finally {
    session.session.close();
  }
  if (promised.size) throw brokenPromise(promised);
  if (thrown.length) throw withCause(new Error('the filesystem threw something other than an FsError'), thrown[0]);
}

/** Calls `onPromise` with each method that answers later, though it is said that none does. */
function watched(filesystem: FileSystem, onPromise: (method: string) => void): FileSystem {
  if (!filesystem.isSynchronous) return filesystem;
  return new Proxy(filesystem, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const answer: unknown = Reflect.apply(value, target, args);
        if (answer instanceof Promise) onPromise(String(name));
        return answer;
      };
    },
  });
}

function brokenPromise(methods: Set<string>): Error {
  return new Error(`isSynchronous is true, but ${[...methods].join(' and ')} returned a promise: leave it out`);
}

function withCause(error: Error, cause: unknown): Error {
  return new Error(`${error.message}\nThe filesystem threw ${String(cause)}, which is EIO for the guest`, { cause });
}
