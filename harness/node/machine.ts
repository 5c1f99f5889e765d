import type { V86, V86Options } from 'v86';
import { attachVirtioFs, MemoryFileSystem } from '../../device/index.ts';
import { GuestAgent, uartChannel } from '../machine/agent/guest-agent.ts';
import { ConsoleLog } from '../machine/console-log.ts';
import { createEmulator, orDestroy } from '../machine/emulator.ts';
import { GuestLife } from '../machine/guest-life.ts';
import { type Plan, withShares } from './plan.ts';
import { Share } from './shares/share.ts';
import type { MachineConfig, Snapshot } from './stores/snapshot-file.ts';
import { compileV86 } from './v86.ts';
import type { ShareOptions } from './vm-options.ts';

/** Milliseconds for a guest to answer, or to run a command. */
export const PATIENCE = 60_000;
/** Milliseconds for a guest to boot: a cold boot takes its time on a loaded machine. */
export const BOOT_PATIENCE = 180_000;

/** An emulator, and all that is plugged into it. */
export interface Machine {
  readonly config: MachineConfig;
  readonly emulator: V86;
  readonly shares: readonly Share[];
  /** The last lines of the guest's console. */
  readonly console: ConsoleLog;
  readonly agent: GuestAgent;
  /** Notices when the guest ends, and greets it when it comes back. */
  readonly life: GuestLife;
}

/** Emulator, shares and agent, not running yet. `base`: a machine that has booted without shares, which they are plugged into. */
export async function assemble(
  plan: Plan,
  shares: ShareOptions[],
  emulatorOptions: V86Options,
  base?: Pick<Snapshot, 'bytes' | 'console'>,
): Promise<Machine> {
  const { onConsole, onProgress, clock } = plan.options;
  const console = new ConsoleLog({ lines: base?.console, onLine: onConsole });
  const plugged: Share[] = [];
  const emulator = await createEmulator(emulatorOptions, await compileV86(), (made, machine) => {
    machine.keepsRtc = clock === 'keep';
    if (base) machine.goOnFrom(base.bytes);
    made.add_listener('serial0-output-byte', (byte: number) => console.write(byte));
    for (const { source: _, size, ...options } of shares) {
      const isThere = options.filesystem ?? options.volume;
      const filesystem = isThere ? options.filesystem : new MemoryFileSystem({ size });
      plugged.push(new Share(attachVirtioFs(made, { ...options, filesystem })));
    }
  });
  return orDestroy(emulator, async () => {
    plan.prepareReboot(emulator);
    for (const [index, { source }] of shares.entries()) {
      if (source !== undefined)
        await plugged[index]!.load(source, (files, bytes) =>
          onProgress?.(`loading ${source}: ${files} files, ${(bytes / 1e6).toFixed(1)} MB`),
        );
    }
    const agent = new GuestAgent(uartChannel(emulator));
    const life = new GuestLife({ emulator, agent, console }, plan.options);
    return { config: withShares(plan.config, shares), emulator, shares: plugged, console, agent, life };
  });
}
