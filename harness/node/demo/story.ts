import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Tells the demo: numbered steps, what happened in each, checks with their figures. */
export class Story {
  readonly #started = performance.now();
  #step: number;
  #status = '';

  /** `step`: the last step told already, by another process. */
  constructor(step = 0) {
    this.#step = step;
  }

  title(text: string, explanation: string): void {
    console.log(`\n${style('bold', text)}\n${style('dim', explanation)}`);
  }

  step(text: string): void {
    this.#clear();
    console.log(`\n${style(['bold', 'cyan'], String(++this.#step))}  ${style('bold', text)}`);
  }

  say(text: string): void {
    this.#clear();
    console.log(`   ${text}`);
  }

  /** A line that the next one replaces; only on a terminal. */
  status(text: string): void {
    if (!process.stdout.isTTY) return;
    this.#clear();
    this.#status = text;
    process.stdout.write(style('dim', `   ${text}`));
  }

  /** Says that something holds, or throws. */
  check(isTrue: boolean, text: string): void {
    this.#clear();
    if (!isTrue) throw new Error(`the demo expected: ${text}`);
    console.log(`   ${style('green', '✓')} ${text}`);
  }

  /** Runs `action` and says how long it took. */
  async time<T>(text: string, action: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const result = await action();
    this.say(`${text} ${style('dim', `(${formatDuration(performance.now() - started)})`)}`);
    return result;
  }

  get stepNumber(): number {
    return this.#step;
  }

  get elapsed(): string {
    return formatDuration(performance.now() - this.#started);
  }

  #clear(): void {
    if (this.#status) process.stdout.write('\r\x1b[K');
    this.#status = '';
  }
}

function formatDuration(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function style(format: Style, text: string): string {
  return process.stdout.isTTY && !process.env['NO_COLOR'] ? styleText(format, text) : text;
}
