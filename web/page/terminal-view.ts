import { FitAddon } from '@xterm/addon-fit';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import type { ShellOutput, ShellStream } from '../embed/shell-stream.ts';
import type { TerminalSize } from '../protocol.ts';

const THEME = {
  background: '#0d1117',
  foreground: '#d6dde6',
  cursor: '#6cb0ff',
  cursorAccent: '#0d1117',
  selectionBackground: '#2f4f7a',
  black: '#30363d',
  red: '#ff7b72',
  green: '#5fd39b',
  yellow: '#e3b341',
  blue: '#6cb0ff',
  magenta: '#d2a8ff',
  cyan: '#56d4dd',
  white: '#d6dde6',
  brightBlack: '#8b98a8',
  brightRed: '#ffa198',
  brightGreen: '#7ee2b0',
  brightYellow: '#f0c85a',
  brightBlue: '#93c5ff',
  brightMagenta: '#e2c5ff',
  brightCyan: '#7ee7ee',
  brightWhite: '#ffffff',
};

/** Keys that keyboards of phones lack. */
export type ExtraKey = 'Escape' | 'Tab' | 'Left' | 'Down' | 'Up' | 'Right';
/** The last letters of what they send. */
const ARROWS = { Left: 'D', Down: 'B', Up: 'A', Right: 'C' };

export interface TerminalEvents {
  type(text: string): void;
  /** What the shell writes from now on. */
  wrote(bytes: Uint8Array): void;
  resize(size: TerminalSize): void;
}

/** One xterm.js terminal in an element of its own, connected to a shell. */
export class TerminalView implements ShellOutput {
  readonly element = document.createElement('div');
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #observer = new ResizeObserver(() => this.fit());
  readonly #events: TerminalEvents;
  #isReplaying = false;
  #wantsFocus = false;

  constructor(shell: ShellStream, label: string, events: TerminalEvents) {
    this.#events = events;
    this.element.className = 'terminal';
    this.#terminal = new Terminal({
      fontFamily:
        getComputedStyle(document.documentElement).getPropertyValue('--mono') ||
        'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: 13,
      lineHeight: 1.15,
      scrollback: 5000,
      // A cursor that blinks has the browser draw sixty times a second, for a tenth of a processor.
      cursorBlink: false,
      theme: THEME,
      macOptionIsMeta: true,
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(new WebLinksAddon());
    this.#terminal.attachCustomKeyEventHandler((event) => this.#isForShell(event));
    this.#terminal.onData((text) => {
      if (!this.#isReplaying) events.type(text);
    });
    this.#terminal.onResize(({ cols, rows }) => events.resize({ columns: cols, rows }));
    this.#terminal.open(this.element);
    this.#terminal.textarea!.setAttribute('aria-label', `${label}. F6 leaves the terminal.`);
    this.#observer.observe(this.element);
    shell.connect(this);
  }

  /**
   * Shows what a shell wrote earlier. The terminal answers no queries in it (cursor position, colours, device attributes, focus …): whoever asked has had
   * the answer, and now it would be typed into whatever runs. Until all of it is parsed the terminal takes no input, so that what it has to say is such an answer.
   */
  replay(bytes: Uint8Array): void {
    if (!bytes.length) return;
    this.#isReplaying = this.element.inert = true;
    // In the very call that ends the parsing: what the shell writes now follows at once.
    this.#terminal.write(bytes, () => {
      this.#isReplaying = this.element.inert = false;
      if (this.#wantsFocus) this.focus();
    });
  }

  /** Settles when the terminal has parsed it. */
  write(bytes: Uint8Array): Promise<void> {
    this.#events.wrote(bytes);
    return new Promise((resolve) => this.#terminal.write(bytes, resolve));
  }

  /** Copy and paste as in other terminals; F6 goes to the next part of the page. */
  #isForShell(event: KeyboardEvent): boolean {
    if (event.key === 'F6') return false;
    if (!event.ctrlKey || !event.shiftKey) return true;
    if (event.code === 'KeyC' && this.#terminal.hasSelection()) {
      if (event.type === 'keydown') void navigator.clipboard.writeText(this.#terminal.getSelection());
      event.preventDefault();
      return false;
    }
    return event.code !== 'KeyV';
  }

  /** As if it were pressed, in the way that the program in the terminal has asked for. */
  press(key: ExtraKey, withCtrl: boolean): void {
    this.#terminal.input(this.#sequenceOf(key, withCtrl));
  }

  #sequenceOf(key: ExtraKey, withCtrl: boolean): string {
    if (key === 'Escape') return '\x1b';
    if (key === 'Tab') return '\t';
    if (withCtrl) return `\x1b[1;5${ARROWS[key]}`;
    return `\x1b${this.#terminal.modes.applicationCursorKeysMode ? 'O' : '['}${ARROWS[key]}`;
  }

  /** Takes the size of its element, if that is to be seen. */
  fit(): void {
    if (this.element.isConnected && this.element.clientWidth > 0) this.#fit.fit();
  }

  /** Now, or when it takes input. */
  focus(): void {
    this.#wantsFocus = this.#isReplaying;
    this.#terminal.focus();
  }

  /** Text of the screen and what was scrolled out of it, lines as they were written: not as they are wrapped. */
  get text(): string {
    const { active } = this.#terminal.buffer;
    let text = '';
    for (let n = 0; n < active.length; n++) {
      const goesOn = active.getLine(n + 1)?.isWrapped ?? false;
      text += active.getLine(n)!.translateToString(!goesOn) + (goesOn ? '' : '\n');
    }
    return text.trimEnd();
  }

  dispose(): void {
    this.#observer.disconnect();
    this.#terminal.dispose();
    this.element.remove();
  }
}
