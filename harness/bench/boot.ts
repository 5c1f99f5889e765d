import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { V86Options } from 'v86';
import { attachVirtioFs } from '../../device/index.ts';
import { GuestAgent, uartChannel } from '../machine/agent/guest-agent.ts';
import { createEmulator } from '../machine/emulator.ts';
import { runByDaemon } from '../node/cli/daemon/client.ts';
import { DAEMON_VARIABLE } from '../node/cli/daemon/place.ts';
import { defaultKernel, resolveImage } from '../node/image.ts';
import { compileV86 } from '../node/v86.ts';
import { Vm } from '../node/vm.ts';
import { DEFAULT_MEMORY } from '../node/vm-options.ts';
import { type BenchRow, Collector, type Measure, medianOf, type Target, target } from './report.ts';

/** `plain` is v86's own way with a bzImage: its BIOS, and a distribution's command line. */
const BOOT_METHODS = ['direct', 'plain', 'bios', 'cached'] as const;
/** The columns: `daemon` is a guest that `v86-virtiofs daemon` keeps ready. */
export const STARTS = [...BOOT_METHODS, 'daemon'];

const READY: Measure = { name: 'start until the guest answers', unit: 's', isRate: false };
const FIRST_COMMAND: Measure = { name: 'start until the first command is done', unit: 's', isRate: false };
const BY_COMMAND_LINE: Measure = { name: '`v86-virtiofs run -- true`, start to end', unit: 's', isRate: false };
const NODE: Measure = { name: '… of which is Node, which does nothing', unit: 's', isRate: false };
/** What users run. */
const CLI = fileURLToPath(new URL('../../dist/cli/v86-virtiofs.mjs', import.meta.url));
const PLAIN_CMDLINE = 'console=ttyS0 quiet';
const TIMEOUT = 180_000;

type BootMethod = (typeof BOOT_METHODS)[number];

/** What the benchmark needs of a machine; a {@link Vm} is one. */
interface Booted {
  exec(command: string[]): Promise<unknown>;
  stop(): Promise<void>;
}

const shares = [{ tag: 'share' }];

const START: Record<BootMethod, () => Promise<Booted>> = {
  direct: () => Vm.boot({ shares, cache: false, bootMethod: 'direct' }),
  plain: startPlain,
  bios: () => Vm.boot({ shares, cache: false, bootMethod: 'bios' }),
  cached: () => Vm.boot({ shares }),
};

/** Cold boots by each method, and starts from the boot cache, in turn. */
export async function benchBoot(rounds: number, onProgress: (message: string) => void): Promise<BenchRow[]> {
  const collector = new Collector(STARTS);
  onProgress('filling the boot cache');
  await (await Vm.boot({ shares })).stop();
  for (let round = 1; round <= rounds; round++) {
    for (const method of BOOT_METHODS) {
      onProgress(`round ${round} of ${rounds}: ${method}`);
      const started = performance.now();
      const machine = await START[method]();
      collector.add(method, READY, (performance.now() - started) / 1000);
      await machine.exec(['true']);
      collector.add(method, FIRST_COMMAND, (performance.now() - started) / 1000);
      await machine.stop();
    }
  }
  await benchDaemon(rounds, collector, onProgress);
  return collector.rows();
}

export function bootTargets(rows: BenchRow[]): Target[] {
  return [target("the daemon's first command", 'ms', 1000 * medianOf(rows, FIRST_COMMAND, 'daemon'), 60)];
}

/** The command line with a daemon and without, and what the socket takes alone. */
async function benchDaemon(rounds: number, collector: Collector, onProgress: (message: string) => void): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-daemon-'));
  const path = join(directory, 'daemon.sock');
  onProgress('starting a daemon');
  const daemon = startNode([CLI, 'daemon', '--count', '1'], path);
  try {
    await new Promise<void>((resolve, reject) => {
      let said = '';
      daemon.stderr!.on('data', (data) => (said += data).includes('ready') && resolve());
      daemon.on('close', () => reject(new Error(`the daemon has ended: ${said}`)));
    });
    // The calls of this process are to be those of the program.
    process.argv[1] = CLI;
    for (let round = 1; round <= rounds; round++) {
      onProgress(`round ${round} of ${rounds}: daemon`);
      const time = async (method: string, measure: Measure, run: () => Promise<number | undefined>) => {
        const started = performance.now();
        if ((await run()) !== 0) throw new Error(`${method}: the command has failed, or was not taken`);
        collector.add(method, measure, (performance.now() - started) / 1000);
      };
      await time('daemon', FIRST_COMMAND, () => runByDaemon(path, ['run', '--', 'true']));
      await time('daemon', BY_COMMAND_LINE, () => ended(startNode([CLI, 'run', '--', 'true'], path)));
      await time('daemon', NODE, () => ended(startNode(['-e', '0'], path)));
      await time('cached', BY_COMMAND_LINE, () => ended(startNode([CLI, 'run', '--', 'true'], 'off')));
    }
  } finally {
    daemon.kill('SIGTERM');
    await ended(daemon);
    await rm(directory, { recursive: true });
  }
}

function startNode(args: string[], path: string): ChildProcess {
  return spawn(process.execPath, args, {
    env: { ...process.env, [DAEMON_VARIABLE]: path },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

async function ended(child: ChildProcess): Promise<number | undefined> {
  if (child.exitCode !== null) return child.exitCode;
  return new Promise((resolve) => child.once('close', (code) => resolve(code ?? undefined)));
}

async function startPlain(): Promise<Booted> {
  const image = await resolveImage({ kernel: defaultKernel() });
  const file = async (path: string) => ({ buffer: new Uint8Array(await readFile(path)).buffer });
  const options = {
    memory_size: DEFAULT_MEMORY * 1024 * 1024,
    bios: await file(image.bios!),
    vga_bios: await file(image.vgaBios!),
    bzimage: await file(image.kernel),
    initrd: await file(image.initrd!),
    cmdline: PLAIN_CMDLINE,
    uart1: true,
  } as V86Options;
  const emulator = await createEmulator(options, await compileV86(), (made) => {
    for (const share of shares) attachVirtioFs(made, share);
  });
  const agent = new GuestAgent(uartChannel(emulator));
  await emulator.run();
  await agent.ready(TIMEOUT);
  return { exec: (command) => agent.exec(command), stop: () => emulator.destroy() };
}
