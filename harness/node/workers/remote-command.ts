import { copyOf } from '../../../device/bytes.ts';
import type { OutputListener, RunningCommand } from '../../machine/agent/guest-process.ts';
import { type SignalName, signalNumber } from '../../machine/agent/signals.ts';
import type { OfCommand, Output, ToThread } from './messages.ts';
import { errorOf } from './messages.ts';

/** A command of a machine in another thread. */
export class RemoteCommand implements RunningCommand {
  readonly exited: Promise<number>;
  readonly #command: number;
  readonly #send: (message: ToThread, moved?: ArrayBuffer[]) => void;
  readonly #listeners: Partial<Record<Output, OutputListener>> = {};
  readonly #held: Record<Output, Uint8Array[]> = { stdout: [], stderr: [] };
  readonly #unwritten: { taken: () => void; lost: (error: Error) => void }[] = [];
  #settle!: { resolve: (code: number) => void; reject: (error: Error) => void };
  #isOver = false;

  constructor(command: number, send: (message: ToThread, moved?: ArrayBuffer[]) => void) {
    this.#command = command;
    this.#send = send;
    this.exited = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.exited.catch(() => {});
  }

  get onStdout(): OutputListener | undefined {
    return this.#listeners.stdout;
  }

  set onStdout(listener) {
    this.#listen('stdout', listener);
  }

  get onStderr(): OutputListener | undefined {
    return this.#listeners.stderr;
  }

  set onStderr(listener) {
    this.#listen('stderr', listener);
  }

  #listen(output: Output, listener: OutputListener | undefined): void {
    this.#listeners[output] = listener;
    if (listener) for (const data of this.#held[output].splice(0)) this.#deliver(output, data, listener);
  }

  write(data: Uint8Array | string): Promise<void> {
    if (this.#isOver) return Promise.reject(new Error('the process takes no more input'));
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : copyOf(data);
    return new Promise((taken, lost) => {
      this.#send({ do: 'write', command: this.#command, data: bytes }, [bytes.buffer as ArrayBuffer]);
      this.#unwritten.push({ taken, lost });
    });
  }

  closeStdin(): void {
    this.#send({ do: 'closeStdin', command: this.#command });
  }

  kill(signal: SignalName | number = 'SIGTERM'): void {
    this.#send({ do: 'kill', command: this.#command, signal: signalNumber(signal) });
  }

  resize(columns: number, rows: number): void {
    this.#send({ do: 'resize', command: this.#command, columns, rows });
  }

  /** What its thread says of it. */
  hear(message: OfCommand): void {
    switch (message.say) {
      case 'exited':
        this.#settle.resolve(message.code);
        return this.#over(new Error('the process has ended'));
      case 'failed':
        return this.lose(errorOf(message.failure));
      case 'written': {
        const { taken, lost } = this.#unwritten.shift() ?? {};
        return message.failure ? lost?.(errorOf(message.failure)) : taken?.();
      }
      default: {
        const listener = this.#listeners[message.say];
        if (listener) this.#deliver(message.say, message.data, listener);
        else this.#held[message.say].push(message.data);
      }
    }
  }

  #deliver(output: Output, data: Uint8Array, listener: OutputListener): void {
    const taken = () => this.#send({ do: 'take', command: this.#command, output });
    const give = (error: Error) => {
      this.kill('SIGKILL');
      this.lose(error);
      this.#listeners.stdout = this.#listeners.stderr = () => {};
    };
    try {
      void Promise.resolve(listener(data)).catch(give).then(taken);
    } catch (error) {
      give(error as Error);
      taken();
    }
  }

  lose(error: Error): void {
    this.#settle.reject(error);
    this.#over(error);
  }

  #over(error: Error): void {
    this.#isOver = true;
    for (const { lost } of this.#unwritten.splice(0)) lost(error);
  }
}
