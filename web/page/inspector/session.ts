import { html, LitElement, nothing } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { LockView, SessionView } from '../../protocol.ts';
import { controls } from '../styles.ts';
import { formatOpenFlags } from './format.ts';
import { Marks, markStyles } from './marks.ts';
import { Poll } from './poll.ts';
import { linuxName } from './spec.ts';
import { viewStyles } from './styles.ts';

/** What the session holds for its guest: all of this survives a freeze. */
export class SessionPanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    session: { state: true },
    marks: { attribute: false },
  };
  static override styles = [controls, viewStyles, markStyles];

  declare connection: Connection;
  declare guest: GuestView;
  declare session: SessionView | undefined;
  /** See `Marks`. */
  declare marks: readonly string[];

  constructor() {
    super();
    this.marks = [];
    new Marks(this);
    new Poll(this, (guest) => this.#look(guest));
  }

  async #look(guest: GuestView): Promise<void> {
    const session = await guest.api.inspector.session();
    if (guest === this.guest && JSON.stringify(session) !== JSON.stringify(this.session)) this.session = session;
  }

  override render() {
    if (!this.session) return nothing;
    const { negotiated, nodes, nodeCount, files, directories, locks, waiters } = this.session;
    return html`<div class="scroll" role="region" tabindex="0" aria-label="Session">
      <section data-mark="init"><h2>FUSE session${negotiated ? html`<span class="muted">protocol ${negotiated.major}.${negotiated.minor}, writes up to ${formatBytes(negotiated.max_write)}</span>` : nothing}</h2>
        ${negotiated ? html`<ul class="chips" aria-label="Flags of INIT">${negotiated.flags.map((flag) => html`<li class="chip mono">${linuxName(flag, flag.replace(/^FUSE_/, ''))}</li>`)}</ul>` : html`<p class="muted">Nothing is mounted.</p>`}</section>
      ${table(
        'Open files',
        files.length,
        'No file is open.',
        ['fh', 'Node', 'Path', 'Flags'],
        files.map(
          ({ fh, ino, path, flags }) =>
            html`<tr><td>${fh}</td><td>${ino}</td><td class="path">${path}</td><td class="mono">${formatOpenFlags(flags)}</td></tr>`,
        ),
      )}
      ${table(
        'Directory streams',
        directories.length,
        'No directory is being read.',
        ['fh', 'Node', 'Path', 'Position'],
        directories.map(
          ({ fh, ino, path, position }) =>
            html`<tr><td>${fh}</td><td>${ino}</td><td class="path">${path}</td><td>${position}</td></tr>`,
        ),
      )}
      ${table('Locks', locks.length, 'Nothing is locked.', ['Kind', 'Path', 'Bytes', 'Process', 'Guest'], locks.map(lockRow))}
      ${table('Waiters', waiters.length, 'No request waits for a lock.', ['Kind', 'Path', 'Bytes', 'Process', 'Guest'], waiters.map(lockRow))}
      ${table(
        'Inode map',
        nodeCount,
        'The guest knows no inode but the root.',
        ['Node', 'Generation', 'Lookups', 'Path'],
        nodes.map(
          ({ ino, generation, nlookup, path }) =>
            html`<tr><td>${ino}</td><td>${generation}</td><td>${nlookup}</td><td class="path">${path}</td></tr>`,
        ),
        nodes.length < nodeCount ? `the first ${nodes.length}` : '',
      )}
    </div>`;
  }
}

/** What lessons call these tables. */
const MARKS: Record<string, string> = {
  'Open files': 'files',
  'Directory streams': 'directories',
  Locks: 'locks',
  Waiters: 'waiters',
  'Inode map': 'nodes',
};

function table(title: string, count: number, none: string, columns: string[], rows: unknown[], note = '') {
  return html`<section data-mark=${MARKS[title] ?? nothing}><h2>${title}<span class="muted">${count}${note ? `, ${note}` : ''}</span></h2>
    ${rows.length ? html`<div class="wide" role="region" tabindex="0" aria-label=${title}><table><tr>${columns.map((column) => html`<th>${column}</th>`)}</tr>${rows}</table></div>` : html`<p class="muted">${none}</p>`}</section>`;
}

function lockRow({ space, type, path, start, end, pid, guest }: LockView) {
  return html`<tr><td>${space} ${type}</td><td class="path">${path}</td><td>${start === 0 && end === undefined ? 'all' : `${start} to ${end ?? 'the end'}`}</td><td>${pid}</td><td>${guest}</td></tr>`;
}

customElements.define('vm-session', SessionPanel);
