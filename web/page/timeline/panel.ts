import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { live } from 'lit/directives/live.js';
import { printable } from '../../../harness/machine/printable.ts';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { SnapshotView, TimelineView } from '../../protocol.ts';
import { ask, choose, dialogStyles, leaveMoment } from '../dialog.ts';
import { saveAs } from '../files/uploads.ts';
import { formatMoment } from '../format.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';

const INTERVALS = { 0: 'never', 5: 'every 5 s', 15: 'every 15 s', 60: 'every minute' };
const KINDS: Record<SnapshotView['kind'], string> = {
  start: 'Start',
  manual: 'Snapshot',
  automatic: 'Automatic',
  fork: 'Before a fork',
  rewind: 'Before going back',
  close: 'Before closing',
  imported: 'Imported',
};

/** What a visitor calls it. */
function labelOf({ name, kind, created }: SnapshotView): string {
  return name && kind !== 'start' ? printable(name) : `${KINDS[kind]}, ${formatMoment(created)}`;
}

/** All snapshots: to take them, go to them, and begin other guests from them. */
export class TimelinePanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    view: { state: true },
    busy: { state: true },
    isDropTarget: { state: true },
  };
  static override styles = [
    controls,
    dialogStyles,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; }
    .toolbar label { display: inline-flex; align-items: center; gap: 6px; }
    .toolbar input[name=name] { width: 9em; }
    .list { flex: 1; min-height: 0; overflow: auto; margin: 0; padding: 6px 0; list-style: none; outline-offset: -3px; }
    .list[data-drop] { outline: 2px dashed var(--accent); background: var(--accent-soft); }
    li { position: relative; display: grid; grid-template-columns: 14px minmax(0, 1fr) auto; gap: 2px 10px; align-items: center; padding: 6px 10px 6px 14px; }
    li::before { content: ''; grid-row: 1 / 3; justify-self: center; width: 10px; height: 10px; border: 2px solid var(--accent); border-radius: 50%; background: var(--surface); z-index: 1; }
    li::after { content: ''; position: absolute; left: 20px; top: 0; bottom: 0; width: 2px; background: var(--border); }
    li:first-child::after { top: 50%; }
    li:last-child::after { bottom: 50%; }
    li[data-here] { background: var(--accent-soft); }
    li[data-here]::before { background: var(--accent); }
    li[data-kind=automatic]::before, li[data-kind=fork]::before, li[data-kind=rewind]::before, li[data-kind=close]::before { border-color: var(--muted); }
    .what { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .name { font-weight: 600; }
    .facts { grid-column: 2; color: var(--muted); font-size: 12.5px; }
    .actions { grid-row: 1 / 3; grid-column: 3; display: flex; }
    .note { padding: 8px 12px; margin: 0; font-size: 12.5px; color: var(--muted); border-top: 1px solid var(--border); display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
    .note .space { flex: 1; }
    .note.warn { color: var(--warn); }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  declare view: TimelineView | undefined;
  /** What is being done. */
  declare busy: string;
  declare isDropTarget: boolean;
  #seen = -1;

  constructor() {
    super();
    this.busy = '';
    this.isDropTarget = false;
  }

  override willUpdate(_: PropertyValues): void {
    if (this.#seen === this.connection.timelineVersion) return;
    this.#seen = this.connection.timelineVersion;
    void this.#refresh();
  }

  async #refresh(): Promise<void> {
    this.view = await this.connection.attempt(this.connection.worker.timeline.view());
  }

  override render() {
    const { view, guest } = this;
    if (!view) return html`<p class="empty">Looking for snapshots</p>`;
    return html`
      <form class="toolbar" aria-label="Timeline" @submit=${this.#take}>
        <input name="name" aria-label="Name of the snapshot" placeholder="Name" autocomplete="off" spellcheck="false">
        <button type="submit" class="primary" ?disabled=${this.busy !== ''}>${icon('camera')} Snapshot now</button>
        <button type="button" ?disabled=${this.busy !== ''} @click=${this.#forkNow}>${icon('fork')} Fork</button>
        <button type="button" class="plain icon" aria-label="Import a snapshot" title="Import a snapshot" @click=${() => this.renderRoot.querySelector<HTMLInputElement>('#import')!.click()}>${icon('upload')}</button>
        <input type="file" id="import" hidden aria-label="Snapshot to import" @change=${this.#onChosen}>
        <span class="space"></span>
        <label>Automatic <select name="interval" .value=${live(String(view.interval))} @change=${this.#onInterval}>
          ${Object.entries(INTERVALS).map(([seconds, text]) => html`<option value=${seconds} ?selected=${Number(seconds) === view.interval}>${text}</option>`)}
        </select></label>
      </form>
      <ol class="list" aria-label="Snapshots, newest first" ?data-drop=${this.isDropTarget} @dragover=${this.#onDragOver} @dragleave=${() => (this.isDropTarget = false)} @drop=${this.#onDrop}>
        ${view.snapshots.map((snapshot) => this.#renderSnapshot(snapshot))}
        ${view.damaged.map(
          ({ id, reason }) => html`<li data-id=${id}>
          <span class="what"><span class="name">Damaged</span></span><span class="facts warn">${reason}</span>
          <span class="actions"><button class="plain icon" aria-label="Remove: damaged snapshot" title="Remove" ?disabled=${this.busy !== ''} @click=${() => this.#remove(id, 'damaged snapshot')}>${icon('trash')}</button></span>
        </li>`,
        )}
      </ol>
      ${this.busy ? html`<p class="note" role="status">${this.busy}</p>` : nothing}
      ${this.#renderUndo(view)}
      ${view.isKept ? nothing : html`<p class="note warn">${view.reason}</p>`}
      <p class="note"><span>${view.snapshots.length} ${view.snapshots.length === 1 ? 'snapshot' : 'snapshots'}, ${formatBytes(view.used)}${view.isKept ? ', kept in this browser: a reload resumes where you are' : ''}. ${guest.name} keeps running while one is taken. Drop a file from <span class="mono">v86-virtiofs export</span> here.</span>
        <span class="space"></span><button class="danger" @click=${this.#clear}>Remove all</button></p>`;
  }

  /** Of the last rewind. Undone, it can be done again in the same way. */
  #renderUndo({ undo, snapshots }: TimelineView) {
    const last = undo.find(({ guest }) => guest === this.guest.id);
    const [to, before] = [last?.to, last?.before].map((id) => snapshots.find((snapshot) => snapshot.id === id));
    if (!before) return nothing;
    return html`<p class="note" role="status"><span>${this.guest.name} went to ${to ? `“${labelOf(to)}”` : 'a snapshot that was removed'}. What was before is kept as “${labelOf(before)}”.</span>
      <span class="space"></span><button ?disabled=${this.busy !== ''} @click=${() => this.#rewind(before)}>Undo</button></p>`;
  }

  #renderSnapshot(snapshot: SnapshotView) {
    const { id, name, kind, created, addedBytes, standstill, guests, damage } = snapshot;
    const here = this.connection.guests
      .filter((candidate) => guests.includes(candidate.id))
      .map((candidate) => candidate.name);
    const label = labelOf(snapshot);
    const button = (action: string, image: Parameters<typeof icon>[0], run: () => Promise<void>) =>
      html`<button class="plain icon" aria-label=${`${action}: ${label}`} title=${action} ?disabled=${this.busy !== ''} @click=${run}>${icon(image)}</button>`;
    return html`<li data-kind=${kind} data-id=${id} ?data-here=${here.length}>
      <span class="what"><span class="name">${name && kind !== 'start' ? printable(name) : KINDS[kind]}</span> <span class="muted">${formatMoment(created)}</span></span>
      <span class="facts">${[
        `${formatBytes(addedBytes)} added`,
        standstill === undefined
          ? ''
          : `paused for ${standstill < 10 ? standstill.toFixed(1) : standstill.toFixed(0)} ms`,
        here.length ? `Current position${this.connection.guests.length > 1 ? ` of ${here.join(', ')}` : ''}` : '',
      ]
        .filter(Boolean)
        .join(', ')}</span>
      ${damage ? html`<span class="facts warn">Damaged: ${damage}</span>` : nothing}
      <span class="actions">
        ${button('Rewind to', 'rewind', () => this.#rewind(snapshot))}
        ${button('Fork from here', 'fork', () => this.#fork({ snapshot: id }))}
        ${kind === 'start' ? nothing : button('Rename', 'rename', () => this.#rename(snapshot))}
        ${button('Export', 'download', () => this.#export(id))}
        ${button('Remove', 'trash', () => this.#remove(id, label))}
      </span>
    </li>`;
  }

  async #do<T>(what: string, action: Promise<T>): Promise<T | undefined> {
    this.busy = what;
    try {
      return await this.connection.attempt(action);
    } finally {
      this.busy = '';
    }
  }

  readonly #take = async (event: Event): Promise<void> => {
    event.preventDefault();
    // Browsers that are short of room then spare it; some ask the visitor.
    if (this.view?.isKept) void navigator.storage.persist();
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem('name') as HTMLInputElement;
    const taken = await this.#do(
      'Taking a snapshot',
      this.connection.worker.timeline.take(this.guest.id, field.value.trim()),
    );
    if (taken) field.value = '';
  };

  async #rewind({ id }: SnapshotView): Promise<void> {
    const {
      guest,
      connection: {
        worker: { timeline },
      },
    } = this;
    await this.#do(
      `Restoring ${guest.name}`,
      leaveMoment(this.shadowRoot!, {
        what: 'Go back',
        guest: guest.name,
        action: (keep) => timeline.rewind(guest.id, id, keep),
      }),
    );
  }

  readonly #forkNow = async (): Promise<void> => {
    const folder = await choose(this.shadowRoot!, {
      title: `Fork ${this.guest.name}`,
      text: 'A second guest starts from this moment and runs beside this one. With the same folder, both see each other’s changes and locks.',
      choices: { own: 'Folder of its own', shared: 'Same folder' },
    });
    if (folder) await this.#fork({ guest: this.guest.id, folder });
  };

  async #fork(from: Parameters<Connection['fork']>[0]): Promise<void> {
    await this.#do('Starting another guest', this.connection.fork(from));
  }

  async #export(id: string): Promise<void> {
    const file = await this.#do('Packing', this.connection.worker.timeline.export(id));
    if (file) saveAs(file.blob, file.name);
  }

  async #rename({ id, name }: SnapshotView): Promise<void> {
    const wanted = await ask(this.shadowRoot!, {
      title: 'Rename the snapshot',
      action: 'Rename',
      input: { label: 'Name', value: name },
    });
    if (wanted?.trim()) await this.#do('Renaming', this.connection.worker.timeline.rename(id, wanted.trim()));
  }

  async #remove(id: string, label: string): Promise<void> {
    if (
      await choose(this.shadowRoot!, {
        title: 'Remove the snapshot?',
        text: `${label}. Snapshots that build on it stay whole.`,
        choices: { remove: 'Remove' },
      })
    ) {
      await this.#do('Removing', this.connection.worker.timeline.remove(id));
    }
  }

  readonly #clear = async (): Promise<void> => {
    const text = 'This removes all snapshots that this browser keeps for this page. The guests keep running.';
    if (
      (await ask(this.shadowRoot!, {
        title: 'Remove all snapshots?',
        text,
        action: 'Remove all',
        isDangerous: true,
      })) === undefined
    )
      return;
    await this.#do('Removing', this.connection.worker.timeline.clear());
  };

  readonly #onInterval = (event: Event): void => {
    void this.connection.attempt(
      this.connection.worker.timeline.setInterval(Number((event.currentTarget as HTMLSelectElement).value)),
    );
  };

  readonly #onChosen = (event: Event): void => {
    const input = event.currentTarget as HTMLInputElement;
    const file = input.files?.[0];
    if (file) void this.#import(file);
    input.value = '';
  };

  readonly #onDragOver = (event: DragEvent): void => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    this.isDropTarget = true;
  };

  readonly #onDrop = (event: DragEvent): void => {
    event.preventDefault();
    this.isDropTarget = false;
    for (const file of event.dataTransfer?.files ?? []) void this.#import(file);
  };

  async #import(file: File): Promise<void> {
    await this.#do(
      `Importing ${file.name}`,
      this.connection.worker.timeline.import(file).catch((error: Error) => {
        throw new Error(`${file.name} can't be imported: ${error.message}`);
      }),
    );
  }
}

customElements.define('vm-timeline', TimelinePanel);
