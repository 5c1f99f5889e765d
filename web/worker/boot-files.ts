import { V86Machine } from '../../device/v86/adapter.ts';
import { kernelCmdline } from '../../harness/machine/boot/cmdline.ts';
import type { DirectBootImage } from '../../harness/machine/boot/direct-boot.ts';
import { putRootPrograms, type RootPrograms, rootCmdline } from '../../harness/machine/boot/root.ts';
import { equipmentOf, type MachineConfig } from '../../harness/machine/config.ts';
import type { Machine } from '../../harness/machine/machine.ts';

/** What a machine boots from. */
export interface BootFiles extends DirectBootImage {
  /** Of one with a root filesystem. */
  programs?: RootPrograms;
}

/** Over `quiet`: who waits for the boot may want to see it go on. */
const TALKATIVE = 'loglevel=7';

/** The kernel's command line. */
export function cmdlineOf(config: MachineConfig): string {
  const { root } = equipmentOf(config);
  return kernelCmdline(root ? `${TALKATIVE} ${rootCmdline(root)}` : TALKATIVE);
}

/** Gives a root filesystem what it is booted with, now and before each reset: when what it returns is called, and by itself. Without it the guest panics. */
export function givePrograms(
  machine: Machine,
  { programs }: BootFiles,
  onProblem: (message: string) => void,
): () => void {
  const root = machine.shares.find(({ isRoot }) => isRoot);
  if (!root || !programs) return () => {};
  const put = () => {
    try {
      putRootPrograms(root.files, programs);
    } catch (error) {
      onProblem(`The guest can’t boot from its root: ${(error as Error).message}`);
    }
  };
  V86Machine.of(machine.emulator).onReset(put);
  return put;
}
