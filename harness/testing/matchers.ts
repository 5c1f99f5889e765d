import { CHECKS, type Check, type Finding } from './checks.ts';

type Checks = typeof CHECKS;
/** What a check is about, and what it is told. */
type Subject<K extends keyof Checks> = Parameters<Checks[K]['look']>[0];
type Arguments<K extends keyof Checks> = Parameters<Checks[K]['look']> extends [unknown, ...infer A] ? A : never;

interface Verdict {
  pass: boolean;
  message: () => string;
  actual?: unknown;
  expected?: unknown;
}

type Matcher = (subject: unknown, ...args: unknown[]) => Verdict | Promise<Verdict>;

/** What `expect.extend(matchers)` adds to vitest's and jest's `expect`; `R` is what a matcher returns. */
export interface GuestMatchers<R = unknown> {
  /** Of what `vm.exec` returns. */
  toHaveExitCode(...args: Arguments<'exitCode'>): R;
  /** Of what `vm.exec` returns: its stdout, all of it or a part. */
  toHaveOutput(...args: Arguments<'output'>): R;
  /** Of a share whose files are in memory: a file or directory, and what is in it. */
  toHaveFile(...args: Arguments<'file'>): R;
  /** Of a share: whether its guest has a file or directory open. */
  toHaveOpen(...args: Arguments<'open'>): R;
  /** Of a share with `locks: 'shared'`: whether its guest holds a lock on a file. */
  toHaveLockOn(...args: Arguments<'lockOn'>): R;
  /** Of a machine: whether its kernel has said WARNING, BUG, Oops and the like, or has crashed. */
  toHaveCleanKernelLog(): Promise<R>;
}

type CheckFunctions = {
  [K in keyof Checks]: (
    subject: Subject<K>,
    ...args: Arguments<K>
  ) => ReturnType<Checks[K]['look']> extends Promise<unknown> ? Promise<void> : void;
};

const checks = Object.entries(CHECKS) as unknown as [keyof Checks, Check<unknown, unknown[]>][];

function explain(
  { noun, what }: Check<unknown, unknown[]>,
  { found }: Finding,
  args: unknown[],
  isNot: boolean,
): string {
  return `expected ${noun} ${isNot ? 'not ' : ''}to have ${what(...args)}: ${found}`;
}

/** Takes a finding at once, or when it is there. */
function whenFound<T>(finding: Finding | Promise<Finding>, use: (finding: Finding) => T): T | Promise<T> {
  return typeof (finding as Promise<Finding>).then === 'function'
    ? (finding as Promise<Finding>).then(use)
    : use(finding as Finding);
}

/** For vitest and jest: `expect.extend(matchers)`. */
export const matchers = Object.fromEntries(
  checks.map(([, check]) => [
    check.matcher,
    function (this: { isNot?: boolean } | undefined, subject: unknown, ...args: unknown[]) {
      return whenFound(
        check.look(subject, ...args),
        (finding): Verdict => ({
          pass: finding.isTrue,
          message: () => explain(check, finding, args, this?.isNot ?? false),
          actual: finding.actual,
          expected: finding.expected,
        }),
      );
    },
  ]),
) as unknown as Record<keyof GuestMatchers, Matcher>;

/** For `node:test` and any other runner: each throws an error when what it says is not so. */
export const check = Object.fromEntries(
  checks.map(([name, definition]) => [
    name,
    (subject: unknown, ...args: unknown[]) =>
      whenFound(definition.look(subject, ...args), (finding) => {
        if (finding.isTrue) return;
        throw Object.assign(new CheckError(explain(definition, finding, args, false)), {
          actual: finding.actual,
          expected: finding.expected,
        });
      }),
  ]),
) as unknown as CheckFunctions;

/** What {@link check} throws. Runners know it by its name, and show the difference. */
export class CheckError extends Error {
  override readonly name = 'AssertionError';
  readonly code = 'ERR_ASSERTION';
}

/** chai, as far as the plugin needs it. */
interface ChaiLike {
  Assertion: { addMethod(name: string, method: (this: never, ...args: never[]) => unknown): void };
}

interface ChaiAssertion {
  _obj: unknown;
  assert(isTrue: boolean, message: string, negated: string, expected?: unknown, actual?: unknown, diff?: boolean): void;
}

/** For chai: `chai.use(guestChai)`, and then `expect(result).to.have.exitCode(0)` and so on, as {@link check} has them. */
export function guestChai({ Assertion }: ChaiLike): void {
  for (const [, definition] of checks)
    Assertion.addMethod(definition.property, function (this: ChaiAssertion, ...args: unknown[]) {
      const tell = (finding: Finding) =>
        this.assert(
          finding.isTrue,
          explain(definition, finding, args, false).replaceAll('#{', '# {'),
          explain(definition, finding, args, true).replaceAll('#{', '# {'),
          finding.expected,
          finding.actual,
          finding.expected !== undefined && !(finding.expected instanceof RegExp),
        );
      return whenFound(definition.look(this._obj, ...args), tell);
    } as never);
}

/** What {@link guestChai} adds, for `declare global { namespace Chai { interface Assertion extends GuestAssertions {} } }`. */
export interface GuestAssertions {
  /** A command that has ended: with this exit code. */
  exitCode(...args: Arguments<'exitCode'>): void;
  /** A command that has ended: with this on its stdout, or something that matches. */
  output(...args: Arguments<'output'>): void;
  /** A share: with this file, and this in it. */
  file(...args: Arguments<'file'>): void;
  /** A share: somebody in the guest has this file open. */
  open(...args: Arguments<'open'>): void;
  /** A share: somebody in the guest holds a lock on this file. */
  lockOn(...args: Arguments<'lockOn'>): void;
  /** A machine: its kernel has warned of nothing. */
  cleanKernelLog(): Promise<void>;
}
