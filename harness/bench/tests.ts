import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PACKAGE_ROOT } from '../../guest-images/paths.ts';
import type { ExecOutput } from '../machine/agent/exec.ts';
import { Vm } from '../node/vm.ts';
import { baseMachine } from '../testing/base-machine.ts';
import { runCold } from './cold-run.ts';
import { QemuMachine } from './qemu-machine.ts';
import { type BenchRow, Collector, type Measure, median, medianOf, type Target, target } from './report.ts';

export const TEST_KINDS = ['test kit', 'v86', 'QEMU'] as const;
type Kind = (typeof TEST_KINDS)[number];

/** Tests of each kind. */
const TESTS = 500;
const PROCESSES = 2;
/** MiB that the guest of the second row has in use. */
const USED = 140;
/** Tests of that one, and of one before which the pool has the time to get a guest ready, in milliseconds. */
const LARGE_TESTS = 50;
const WARM_TESTS = 50;
const PAUSE = 300;
const MEMORY = 256;

const RATE: Measure = {
  name: `… in ${PROCESSES} processes`,
  unit: '/s',
  isRate: true,
};
const ONE: Measure = { name: `${TESTS} tests that fork, write and assert`, unit: '/s', isRate: true };
const FIRST: Measure = { name: 'fork to first assertion', unit: 'ms', isRate: false };
const WARM: Measure = { name: `${FIRST.name}, warm pool`, unit: 'ms', isRate: false };
const LARGE: Measure = { name: `${FIRST.name}, ${USED} MiB in use`, unit: 'ms', isRate: false };

const WARM_LARGE: Measure = { name: `${LARGE.name}, warm pool`, unit: 'ms', isRate: false };
const LINES: Measure = { name: 'lines of a first test, from installing to running', unit: '', isRate: false };
const COLD: Measure = { name: 'cold run, base in a bucket, to first assertion', unit: 'ms', isRate: false };

/** What each test does: writes a file, and looks what is in it, and whether anything of the test before is left. */
const TEST = 'ls /tmp/file 2>/dev/null; echo written > /tmp/file; cat /tmp/file';
const USE = `dd if=/dev/urandom of=/dev/shm/used bs=1M count=${USED - 40}`;

function assertWritten({ stdout }: Pick<ExecOutput, 'stdout'>): void {
  const said = new TextDecoder().decode(stdout);
  if (said !== 'written\n') throw new Error(`the guest has another file than was written: ${said}`);
}

export interface KitOptions {
  /** Waits for the others. */
  begin?: () => Promise<unknown>;
  isLarge?: boolean;
  /** Milliseconds before each test. */
  before?: number;
}

/** Tests on forks of the base in a directory, one after the other. Returns how long each took until its assertion, in milliseconds. */
export async function runKit(
  store: string,
  count: number,
  { begin = () => Promise.resolve(), isLarge = false, before = 0 }: KitOptions = {},
): Promise<number[]> {
  const base = await baseMachine({ store, memory: MEMORY, prepare: isLarge ? USE : '' }).ready();
  const times: number[] = [];
  await begin();
  for (let n = 0; n < count; n++) {
    if (before) await pause(before);
    const started = performance.now();
    await base.test(async (vm) => {
      assertWritten(await vm.execBytes(TEST));
      times.push(performance.now() - started);
    })();
  }
  await base.close();
  return times;
}

/** Returns milliseconds that all of them took, in as many processes as there are processors for. */
async function runProcesses(store: string): Promise<number> {
  const processes = Array.from({ length: PROCESSES }, () =>
    fork(fileURLToPath(new URL('./tests-process.ts', import.meta.url)), [store, `${TESTS / PROCESSES}`], {
      execArgv: ['--import', 'tsx'],
    }),
  );
  try {
    const say = (word: string) => Promise.all(processes.map((child) => said(child, word)));
    await say('ready');
    const started = performance.now();
    for (const child of processes) child.send('begin');
    await say('done');
    return performance.now() - started;
  } finally {
    for (const child of processes) child.kill();
  }
}

async function said(child: ChildProcess, word: string): Promise<void> {
  const ended = once(child, 'exit').then(([code]) =>
    Promise.reject(new Error(`a process of tests has ended with ${code}`)),
  );
  const [message] = (await Promise.race([once(child, 'message'), ended])) as [string];
  if (message !== word) throw new Error(`a process of tests said ${message}`);
}

/** Tests that each go back to a snapshot of one machine. */
async function runRestoring(
  count: number,
  restore: () => Promise<unknown>,
  exec: () => Promise<ExecOutput>,
): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const started = performance.now();
    await restore();
    assertWritten(await exec());
    times.push(performance.now() - started);
  }
  return times;
}

/** Tests that each begin with the same guest: with the test kit, v86's own `restore_state`, and QEMU's `loadvm`. */
export async function benchTests(rounds: number, onProgress: (message: string) => void): Promise<BenchRow[]> {
  const collector = new Collector(TEST_KINDS);
  const add = (kind: Kind, times: number[], isLarge: boolean) => {
    collector.add(kind, isLarge ? LARGE : FIRST, median(times));
    if (!isLarge) collector.add(kind, ONE, 1000 / (times.reduce((sum, each) => sum + each, 0) / times.length));
  };
  const store = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const isLarge of [false, true]) {
        const count = isLarge ? LARGE_TESTS : TESTS;
        const of = `round ${round} of ${rounds}${isLarge ? `, ${USED} MiB` : ''}`;
        onProgress(`${of}: test kit`);
        const times = await runKit(store, count, { isLarge });
        add('test kit', times, isLarge);
        if (!isLarge) {
          collector.add('test kit', RATE, (1000 * TESTS) / (await runProcesses(store)));
          collector.add('test kit', WARM, median(await runKit(store, WARM_TESTS, { before: PAUSE })));
        } else {
          const warm = await runKit(store, WARM_TESTS, { isLarge, before: PAUSE });
          collector.add('test kit', WARM_LARGE, median(warm));
        }

        onProgress(`${of}: v86`);
        const vm = await Vm.boot({ memory: MEMORY, shares: [{ tag: 'share' }] });
        try {
          await vm.mount();
          if (isLarge) await vm.exec(USE, { check: true });
          const state = await vm.emulator.save_state();
          const restore = async () => {
            await vm.emulator.restore_state(state);
            await vm.goOn();
          };
          add('v86', await runRestoring(count, restore, () => vm.execBytes(TEST)), isLarge);
        } finally {
          await vm.stop();
        }

        onProgress(`${of}: QEMU`);
        const qemu = await QemuMachine.boot(MEMORY);
        try {
          if (isLarge) await qemu.agent.exec(USE);
          await qemu.command('savevm base');
          const restore = async () => {
            qemu.agent.follow(undefined);
            await qemu.command('loadvm base');
            await qemu.agent.ready();
          };
          add('QEMU', await runRestoring(count, restore, () => qemu.agent.exec(TEST)), isLarge);
        } finally {
          await qemu.stop();
        }
      }
    }
    onProgress('cold runs');
    for (const time of await runCold(rounds, MEMORY, TEST)) collector.add('test kit', COLD, time);
    collector.add('test kit', LINES, await countLines());
    return collector.rows();
  } finally {
    await rm(store, { recursive: true, force: true });
  }
}

export function testTargets(rows: BenchRow[]): Target[] {
  const of = (measure: Measure) => medianOf(rows, measure, 'test kit');
  return [
    target(WARM.name, 'ms', of(WARM), 25),
    target(WARM_LARGE.name, 'ms', of(WARM_LARGE), 60),
    target(`${TESTS} tests in ${PROCESSES} processes`, '/s', of(RATE), 30, true),
    target(COLD.name, 'ms', of(COLD), 3000),
    target(LINES.name, '', of(LINES), 15),
  ];
}

/** `npm install`, and the first example, whose comment is the line that runs it. */
async function countLines(): Promise<number> {
  const example = await readFile(join(PACKAGE_ROOT, 'examples/testing/node.test.ts'), 'utf8');
  return 1 + example.split('\n').filter((line) => line.trim()).length;
}
