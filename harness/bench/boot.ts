import { readFile } from 'node:fs/promises';
import type { V86Options } from 'v86';
import { attachVirtioFs } from '../../device/index.ts';
import { GuestAgent, uartChannel } from '../machine/agent/guest-agent.ts';
import { createEmulator } from '../machine/emulator.ts';
import { defaultKernel, resolveImage } from '../node/image.ts';
import { compileV86 } from '../node/v86.ts';
import { Vm } from '../node/vm.ts';
import { DEFAULT_MEMORY } from '../node/vm-options.ts';
import { type BenchRow, Collector, type Measure } from './report.ts';

/** `plain` is v86's own way with a bzImage: its BIOS, and a distribution's command line. */
export const BOOT_METHODS = ['direct', 'plain', 'bios', 'cached'] as const;

const READY: Measure = { name: 'start until the guest answers', unit: 's', isRate: false };
const FIRST_COMMAND: Measure = { name: 'start until the first command is done', unit: 's', isRate: false };
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
  const collector = new Collector(BOOT_METHODS);
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
  return collector.rows();
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
