import { css, html, LitElement } from 'lit';
import type { Connection, GuestView } from '../embed/connection.ts';
import { called } from '../protocol/format.ts';
import { icon } from './icons.ts';
import { walkByItself } from './inspector/walking.ts';
import { controls } from './styles.ts';

/** What the first minute may begin with. */
export type Tour = 'cat' | 'time' | 'two';

const TOURS: { id: Tour; label: string; icon: 'inspect' | 'rewind' | 'fork' }[] = [
  { id: 'cat', label: 'Watch a `cat` cross the device', icon: 'inspect' },
  { id: 'time', label: 'Go back in time', icon: 'rewind' },
  { id: 'two', label: 'Open two machines', icon: 'fork' },
];

/** What a visitor sees before typing: what this is, and three ways to begin. Dispatches `tour` and `close`. */
export class Welcome extends LitElement {
  static override properties = { isBusy: { type: Boolean } };
  static override styles = [
    controls,
    css`
    :host { display: block; padding: 14px 16px 16px; border: 1px solid var(--border); border-radius: 12px; background: var(--surface); color: var(--text); box-shadow: var(--shadow); }
    header { display: flex; align-items: start; gap: 8px; }
    p { flex: 1; margin: 0 0 10px; }
    header button { margin: -6px -8px 0 0; }
    .picture { display: grid; grid-template-columns: minmax(0, 1fr) auto minmax(0, 1fr) auto minmax(0, 1fr); align-items: stretch; gap: 4px; margin: 0 0 12px; padding: 0; list-style: none; font-size: 12.5px; line-height: 1.3; }
    .picture li { padding: 6px 8px; border: 1px solid var(--border); border-radius: 8px; background: var(--raised); }
    .picture li.arrow { align-self: center; padding: 0 2px; border: 0; background: none; text-align: center; color: var(--muted); }
    .picture li.device { border-color: var(--accent); background: var(--accent-soft); }
    .picture b { display: block; }
    .picture span { color: var(--muted); }
    .tours { display: flex; flex-wrap: wrap; gap: 8px; }
    .tours button { flex: 1 1 auto; min-height: 38px; }
    code { font-family: var(--mono); font-size: .95em; }
    @container (max-width: 480px) {
      .picture { font-size: 11px; }
      .picture span { display: none; }
      .tours button { flex-basis: 100%; }
    }
  `,
  ];

  declare isBusy: boolean;

  constructor() {
    super();
    this.isBusy = false;
  }

  override render() {
    return html`<section aria-label="Welcome">
      <header><p>This Linux machine runs in your browser, and shares a folder with this page through a virtio-fs device that you can watch, pause, and take back in time.</p>
        <button class="plain icon" aria-label="Close the welcome" title="Close" @click=${() => this.dispatchEvent(new Event('close'))}>${icon('close')}</button></header>
      <ol class="picture" aria-label="What is connected to what">
        <li><b>Linux</b><span>its kernel’s virtio-fs driver, in the terminal above</span></li>
        <li class="arrow"><span class="visually-hidden">sends requests through </span>⇄<br>RAM</li>
        <li class="device"><b>virtio-fs device</b><span>virtqueues and a FUSE session, in this tab</span></li>
        <li class="arrow"><span class="visually-hidden">which reads and writes </span>⇄</li>
        <li><b>Shared folder</b><span>files that the page has too</span></li>
      </ol>
      <div class="tours">${TOURS.map(({ id, label, icon: name }, n) => html`<button class=${n ? '' : 'primary'} ?disabled=${this.isBusy} @click=${() => this.dispatchEvent(new CustomEvent<Tour>('tour', { detail: id }))}>${icon(name)} <span>${inCode(label)}</span></button>`)}</div>
    </section>`;
  }
}

/** What is between backticks, as code. */
export function inCode(label: string) {
  return label.split('`').map((part, n) => (n % 2 ? html`<code>${part}</code>` : part));
}

/** Where a tour leads to, and what the visitor is told there. */
export interface Scene {
  view: 'inspector' | 'timeline' | 'files';
  /** What it is about is in the terminal, which a narrow page shows alone. */
  isInTerminal?: boolean;
  /** '' where the view tells enough. */
  hint: string;
}

const NOTE = 'note.txt';
const SNAPSHOT = 'Before rm';
const MESSAGE = 'hello.txt';

/** Does what a tour begins with, and says what to show then. */
export async function begin(tour: Tour, connection: Connection, guest: GuestView): Promise<Scene> {
  const type = async (place: GuestView, line: string) => {
    const { shells, api } = place;
    const shell = shells.at(-1) ?? (await connection.openShell(place));
    await api.shells.type(shell.id, `${line}\n`);
  };
  switch (tour) {
    case 'cat':
      walkByItself(guest);
      await connection.hold(guest, true);
      await type(guest, 'cat README.txt');
      return { view: 'inspector', hint: '' };
    case 'time': {
      await guest.api.exec(`echo "You can bring me back." > ${NOTE}`, { cwd: guest.mountPoint });
      await connection.worker.timeline.take(guest.id, SNAPSHOT);
      await type(guest, `rm ${NOTE}; ls`);
      return {
        view: 'timeline',
        hint: `${NOTE} is gone. Rewind to “${SNAPSHOT}”, with the arrow beside it, then type \`cat ${NOTE}\`: the whole machine is back in that moment.`,
      };
    }
    case 'two': {
      const second = await connection.fork({ guest: guest.id, folder: 'shared' });
      await guest.api.exec(`echo "Hello from ${guest.name}" > ${MESSAGE}`, { cwd: guest.mountPoint });
      await type(second, `cat ${MESSAGE}`);
      return {
        view: 'files',
        isInTerminal: true,
        hint: `The second machine started from the first one’s memory, and both share one folder: ${called(second.name)} reads what ${called(guest.name)} wrote. Write something in one, and read it in the other.`,
      };
    }
  }
}

customElements.define('vm-welcome', Welcome);
