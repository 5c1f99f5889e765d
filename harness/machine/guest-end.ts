import type { V86Machine } from '../../device/v86/adapter.ts';
import type { GuestEnd } from './errors.ts';

/**
 * A word in the BIOS data area. Linux writes there how a BIOS is to begin before it resets the machine: 0x1234 for a warm start, otherwise 0.
 * With `reboot=panic_warm` on its command line it asks for a warm start only when it has panicked. What its console says is no proof: any program
 * can write there.
 */
const RESET_FLAG = 0x472;
const WARM_START = 0x1234;

/**
 * Calls `onEnd` when the guest has ended by itself, in the middle of the emulation: `crashed` when it panicked, with `fault` when the emulation
 * failed; `halted` when it has halted or turned its power off; `rebooted` when it reboots. A kernel that does not reset the machine
 * after a panic (`panic=-1`) spins for ever, and nothing tells.
 */
export function watchEnd(machine: V86Machine, onEnd: (end: GuestEnd, fault?: Error) => void): void {
  machine.onReset(() => {
    const isPanic = machine.memory.readU16(RESET_FLAG) === WARM_START;
    machine.memory.writeU16(RESET_FLAG, 0);
    onEnd(isPanic ? 'crashed' : 'rebooted');
  });
  machine.onHalt(() => onEnd('halted'));
  machine.onFault((error) => onEnd('crashed', error instanceof Error ? error : new Error(String(error))));
}
