import type { Cpu, Uart } from './types.ts';

/** What has been sent to the serial ports and not been taken by the guest, which is in no state of v86. */
function queues({ devices }: Cpu): Uart['input'][] {
  return [devices.uart0, devices.uart1, devices.uart2, devices.uart3].flatMap((uart) => (uart ? [uart.input] : []));
}

/** How many bytes the guest has not taken yet. */
export function countInput(cpu: Cpu): number {
  return queues(cpu).reduce((sum, { length }) => sum + length, 0);
}

/** Drops them: who comes back must not read what was sent to whoever was there. */
export function dropInput(cpu: Cpu): void {
  for (const queue of queues(cpu)) {
    if (Array.isArray(queue)) queue.length = 0;
    else queue.clear();
  }
}
