import type { GuestProcess } from '../../machine/agent/guest-agent.ts';

/** Collects what a process in the guest says, line by line, until the line that ends it (left out). */
export class Lines {
  readonly #lines: string[] = [];
  readonly #waiting: { end: string; resolve: (lines: string[]) => void }[] = [];
  #rest = '';

  constructor(process: GuestProcess) {
    process.onStdout = (data) => {
      const lines = (this.#rest + new TextDecoder().decode(data)).split('\n');
      this.#rest = lines.pop()!;
      this.#lines.push(...lines);
      this.#deliver();
    };
  }

  until(end: string): Promise<string[]> {
    return new Promise((resolve) => {
      this.#waiting.push({ end, resolve });
      this.#deliver();
    });
  }

  #deliver(): void {
    const [first] = this.#waiting;
    const at = first ? this.#lines.findIndex((line) => line === first.end || line.startsWith('failed')) : -1;
    if (at < 0) return;
    this.#waiting.shift();
    const lines = this.#lines.splice(0, at + 1);
    if (lines.at(-1) === first!.end) lines.pop();
    first!.resolve(lines);
  }
}
