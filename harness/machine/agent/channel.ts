import type { V86 } from 'v86';
import { HOST, type Surroundings } from './surroundings.ts';

/** A byte stream to the agent in the guest, see {@link uartChannel}. */
export interface AgentChannel {
  /** Takes a borrowed buffer. Bytes handed over are never refused. */
  write(bytes: Uint8Array): void;
  /** `age`: milliseconds since the first of the bytes came. */
  onData(callback: (bytes: Uint8Array, age?: number) => void): void;
  /** Hands on what has come, at once. */
  flush(): void;
}

/** The members of a `V86` that carry a UART's bytes. */
export type UartBus = Pick<V86, 'add_listener' | 'serial_send_bytes'>;

const CHUNK = 16384;

/** The channel of the guest's agent: v86's second UART (`uart1: true`). Its bytes are handed on a turn of the event loop later. */
export function uartChannel(emulator: UartBus, clock: Pick<Surroundings, 'now'> = HOST): AgentChannel {
  let deliver: (bytes: Uint8Array, age: number) => void = () => {};
  let began = 0;
  let pending = new Uint8Array(CHUNK);
  let length = 0;
  const flush = () => {
    if (length === 0) return;
    const bytes = pending.subarray(0, length);
    length = 0;
    deliver(bytes, clock.now() - began);
  };
  emulator.add_listener('serial1-output-byte', (byte) => {
    if (length === 0) {
      began = clock.now();
      queueMicrotask(flush);
    }
    if (length === pending.length) {
      const larger = new Uint8Array(2 * length);
      larger.set(pending);
      pending = larger;
    }
    pending[length++] = byte;
  });
  return {
    write: (bytes) => emulator.serial_send_bytes(1, bytes),
    onData: (callback) => {
      deliver = callback;
    },
    flush,
  };
}
