import { html, LitElement, nothing } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes, titled } from '../../protocol/format.ts';
import type { LockView, SessionView } from '../../protocol.ts';
import { Marks, markStyles, nameMark } from '../marks.ts';
import { controls } from '../styles.ts';
import { formatOpenFlags } from './format.ts';
import { Poll } from './poll.ts';
import { explained, linuxName, type TermId, type Where } from './spec.ts';
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
      <section data-mark="init"><h2>${explained('FUSE session', 'session')}${negotiated ? html`<span class="muted">${explained('protocol', 'init')} ${negotiated.major}.${negotiated.minor}, writes up to ${formatBytes(negotiated.max_write)}</span>` : nothing}</h2>
        ${negotiated ? html`<ul class="chips" aria-label="Flags of INIT">${negotiated.flags.map((flag) => html`<li class="chip mono">${linuxName(flag, flag.replace(/^FUSE_/, ''))}</li>`)}</ul>` : html`<p class="muted">Nothing is mounted.</p>`}</section>
      ${table(
        'Open files',
        files.length,
        'No file is open.',
        ['fh', 'Node', 'Path', 'Flags'],
        files.map(
          ({ fh, ino, path, flags }) =>
            html`<tr data-mark=${nameMark(path)}><td>${fh}</td><td>${ino}</td><td class="path">${path}</td><td class="mono">${formatOpenFlags(flags)}</td></tr>`,
        ),
      )}
      ${table(
        'Directory streams',
        directories.length,
        'No directory is being read.',
        ['fh', 'Node', 'Path', 'Position'],
        directories.map(
          ({ fh, ino, path, position }) =>
            html`<tr data-mark=${nameMark(path)}><td>${fh}</td><td>${ino}</td><td class="path">${path}</td><td>${position}</td></tr>`,
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
            html`<tr data-mark=${nameMark(path)}><td>${ino}</td><td>${generation}</td><td>${nlookup}</td><td class="path">${path}</td></tr>`,
        ),
        nodes.length < nodeCount ? `the first ${nodes.length}` : '',
      )}
    </div>`;
  }
}

/** What lessons call these tables, and what explains them. */
const TABLES = {
  'Open files': { mark: 'files', term: 'handle', where: 'FUSE_OPEN' },
  'Directory streams': { mark: 'directories', term: 'handle', where: 'FUSE_OPENDIR' },
  Locks: { mark: 'locks', term: 'lock', where: 'FUSE_SETLK' },
  Waiters: { mark: 'waiters', term: 'lock', where: 'FUSE_SETLKW' },
  'Inode map': { mark: 'nodes', term: 'node-id', where: 'fuse_entry_out' },
} as const satisfies Record<string, { mark: string; term: TermId; where: Where }>;

/** What explains their columns. */
const COLUMNS = {
  fh: ['handle', 'fuse_open_out'],
  Node: ['node-id', 'fuse_entry_out'],
  Path: ['node-id', 'FUSE_LOOKUP'],
  Flags: ['handle', 'fuse_open_in'],
  Position: ['handle', 'fuse_dirent'],
  Kind: ['lock', 'fuse_lk_in'],
  Bytes: ['lock', 'fuse_file_lock'],
  Process: ['lock', 'fuse_file_lock'],
  Guest: ['session', '5.11.6'],
  Generation: ['node-id', 'fuse_entry_out'],
  Lookups: ['lookup-count', 'FUSE_FORGET'],
} as const satisfies Record<string, readonly [TermId, Where]>;

function table(
  title: keyof typeof TABLES,
  count: number,
  none: string,
  columns: (keyof typeof COLUMNS)[],
  rows: unknown[],
  note = '',
) {
  const { mark, term, where } = TABLES[title];
  return html`<section data-mark=${mark}><h2>${explained(title, term, where)}<span class="muted">${count}${note ? `, ${note}` : ''}</span></h2>
    ${rows.length ? html`<div class="wide" role="region" tabindex="0" aria-label=${title}><table><tr>${columns.map((column) => html`<th>${explained(column, COLUMNS[column][0], COLUMNS[column][1])}</th>`)}</tr>${rows}</table></div>` : html`<p class="muted">${none}</p>`}</section>`;
}

function lockRow({ space, type, path, start, end, pid, guest }: LockView) {
  return html`<tr data-mark=${nameMark(path)}><td>${space} ${type}</td><td class="path">${path}</td><td>${start === 0 && end === undefined ? 'all' : `${start} to ${end ?? 'the end'}`}</td><td>${pid}</td><td>${titled(guest)}</td></tr>`;
}

customElements.define('vm-session', SessionPanel);
