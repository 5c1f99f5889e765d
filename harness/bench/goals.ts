import { type BenchRow, medianOf } from './report.ts';
import { INSTRUCTIONS, INTERRUPTS } from './requests.ts';

/** The file systems that are compared, by their names in the tables. */
export const FAST = 'fast driver';
export const STOCK = 'stock driver';
export const NINEP = '9p';
export const TMPFS = 'tmpfs';

/** Rows of times, and of instructions of the guest. */
interface Rows {
  times: BenchRow[];
  executed: BenchRow[];
}

export interface Results {
  /** With the guest's cache. */
  cached: Rows;
  uncached: Rows;
  /** Of one request. */
  costs: BenchRow[];
  /** How many of {@link EDITS} changes of the host the guest sees at its next system call, with a share's default cache. */
  edits: Record<string, number>;
}

export const EDITS = 1000;

/** What was to be reached with the fast driver, and what is. */
export interface Goal {
  name: string;
  unit: string;
  stock: number;
  fast: number;
  goal: number;
  /** The goal is the least it may be, not the most. */
  isLeast: boolean;
  isReached: boolean;
}

type Of = (subject: string) => number;

/** `isNewer`: on Linux 6.12, where a request takes less. */
export function goalsOf({ cached, uncached, costs, edits }: Results, isNewer: boolean): Goal[] {
  const of =
    (rows: BenchRow[], name: string): Of =>
    (subject) =>
      medianOf(rows, { name }, subject);
  const thousands =
    (value: Of): Of =>
    (subject) =>
      value(subject) / 1000;
  const to =
    (other: string, value: Of): Of =>
    (subject) =>
      value(subject) / value(other);
  const goal = (name: string, unit: string, value: Of, limit: number, isLeast = false): Goal => {
    const [stock, fast] = [value(STOCK), value(FAST)];
    return { name, unit, stock, fast, goal: limit, isLeast, isReached: isLeast ? fast >= limit : fast <= limit };
  };
  const executed = (name: string, row: string, limit: number) =>
    goal(name, '1000 instructions', thousands(of(cached.executed, row)), limit);
  const [create, copy] = ['create and write', 'copy a tree of 500 files'];
  return [
    goal('a request: fstat, uncached', '1000 instructions', thousands(of(costs, INSTRUCTIONS.name)), isNewer ? 4 : 6),
    goal('interrupts a request', '', of(costs, INTERRUPTS.name), 0),
    executed('create, write, close', create, 28),
    goal('… to tmpfs', '×', to(TMPFS, of(cached.executed, create)), 2),
    executed('unlink', 'unlink', 13),
    executed('mkdir', 'mkdir', 16),
    executed('rename', 'rename', 20),
    executed('open, read, close, warm', 'open, read and close, again', 12),
    executed('stat of what is known, after a second', 'stat, known for a second', 5.2),
    goal('changes of the host seen at the next system call', `of ${EDITS}`, (subject) => edits[subject]!, EDITS, true),
    goal('write 4k, uncached, speed to 9p', '×', to(NINEP, of(uncached.times, 'write 4k')), 3, true),
    goal('read 4k, uncached, speed to 9p', '×', to(NINEP, of(uncached.times, 'read 4k')), 3, true),
    goal(`${copy}, time to tmpfs`, '×', to(TMPFS, of(cached.times, copy)), 3),
    goal('… instructions to tmpfs', '×', to(TMPFS, of(cached.executed, copy)), 3),
  ];
}

/** The guest's own limit, whatever the file system. */
const NO_FILES = /^memcpy/;

/** The rows in which 9p is better than the fast driver, and how many times. */
export function behindNinep({ cached, uncached }: Results): string[] {
  const behind = (rows: BenchRow[], what: string) =>
    rows
      .filter(({ name, ratios }) => ratios[NINEP]! < 1 && !NO_FILES.test(name))
      .map(({ name, ratios }) => `${name}, ${what}: ${(1 / ratios[NINEP]!).toFixed(2)}×`);
  return [
    ...behind(cached.times, 'cached, time'),
    ...behind(uncached.times, 'uncached, time'),
    ...behind(cached.executed, 'cached, instructions'),
    ...behind(uncached.executed, 'uncached, instructions'),
  ];
}
