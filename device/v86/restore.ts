import { dateOf } from './clock.ts';
import type { Cpu } from './types.ts';

/**
 * Carries out v86's own `restore`, whichever it is, and what that leaves undone:
 * - It takes its old offset for part of the time when it sets the time stamp counter: each restore would put the guest's clock
 *   forward by it. Setting the counter to what it is makes the offset 0.
 * - It replaces three views of wasm memory by the saved copies instead of writing through them.
 * - It keeps what has been sent to the serial ports and not been taken, which the guest that comes would read.
 * - It restores the x87's control word, but goes on rounding as the one before said until the guest loads another.
 */
export function mendedRestore(cpu: Cpu, restore: () => void): void {
  const { last_result, fpu_status_word, mxcsr } = cpu;
  const views = { last_result, fpu_status_word, mxcsr };
  cpu.store_current_tsc();
  cpu.set_tsc(cpu.current_tsc[0]!, cpu.current_tsc[1]!);
  try {
    restore();
    // Undefined in a state that v86 took before it saved them.
    for (const name of ['last_result', 'fpu_status_word', 'mxcsr'] as const)
      views[name][0] = (cpu[name] ?? views[name])[0]!;
  } finally {
    Object.assign(cpu, views);
  }
  for (const name of ['uart0', 'uart1', 'uart2', 'uart3'] as const) {
    const input = cpu.devices[name]?.input;
    if (Array.isArray(input)) input.length = 0;
    else input?.clear();
  }
  cpu.wm.exports.set_control_word(cpu.fpu_control_word[0]!);
}

/** v86's clock adds what has passed since it was last asked. */
export function setRtc(cpu: Cpu, time: number): void {
  const { rtc } = cpu.devices;
  rtc.rtc_time = time;
  rtc.last_update = dateOf(cpu);
}
