import type { GuestId, ShellId, ShellInfo } from '../protocol.ts';

/** Where a shell's output goes. */
export interface ShellOutput {
  /** What it wrote before, and has had answers to. */
  replay(bytes: Uint8Array): void;
  /** Settles when it is taken. */
  write(bytes: Uint8Array): Promise<void>;
}

/** One shell's output, kept until a terminal takes it. */
export class ShellStream {
  readonly guest: GuestId;
  readonly id: ShellId;
  readonly #earlier: Uint8Array;
  readonly #backlog: Uint8Array[] = [];
  #output: ShellOutput | undefined;

  constructor(guest: GuestId, { id, output }: ShellInfo) {
    this.guest = guest;
    this.id = id;
    this.#earlier = output;
  }

  /** Gives the terminal what there is, and what will come. */
  connect(output: ShellOutput): void {
    if (!this.#output) output.replay(this.#earlier);
    this.#output = output;
    for (const bytes of this.#backlog.splice(0)) void output.write(bytes);
  }

  push(bytes: Uint8Array): Promise<void> | void {
    if (this.#output) return this.#output.write(bytes);
    this.#backlog.push(bytes);
  }
}
