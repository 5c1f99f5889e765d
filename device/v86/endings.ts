import type { Cpu, Emulator } from './types.ts';

/** PM1a_CNT of v86's PIIX4. SLP_EN with SLP_TYP 0, which SeaBIOS' tables give for S5, turns a machine off; v86 only keeps it. */
const PM1A_CNT = 0xb004;
const SLP_TYP = 7 << 10;
const SLP_EN = 1 << 13;

/** Calls `listeners` when the processor waits with interrupts off, or turns the power off. */
export function hookHalt(emulator: Pick<Emulator, 'add_listener'>, cpu: Cpu, listeners: readonly (() => void)[]): void {
  const halted = () => {
    for (const listener of listeners) listener();
  };
  emulator.add_listener('cpu-event-halt', halted);
  const port = cpu.io.ports[PM1A_CNT]!;
  const { write16 } = port;
  port.write16 = (value) => {
    write16.call(port.device, value);
    if ((value & (SLP_EN | SLP_TYP)) === SLP_EN) halted();
  };
}

/** How often the guest was run for a while since v86 began. */
export interface Slices {
  all: number;
  /** Those at whose end it waited for an interrupt. */
  waiting: number;
}

/** Stops the emulator, and calls `listeners`, when it fails; where there are none the error comes out of v86's loop. Counts in `slices`. */
export function hookLoop(
  emulator: Emulator,
  cpu: Cpu,
  listeners: readonly ((error: unknown) => void)[],
  slices: Slices,
): void {
  const { main_loop } = cpu;
  cpu.main_loop = () => {
    try {
      const delay = main_loop.call(cpu);
      slices.all++;
      if (delay > 0) slices.waiting++;
      return delay;
    } catch (error) {
      if (!listeners.length) throw error;
      void emulator.stop();
      for (const listener of listeners) listener(error);
      return 0;
    }
  };
}
