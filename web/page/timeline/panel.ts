import { html, LitElement, nothing, type PropertyValues } from 'lit';
import { live } from 'lit/directives/live.js';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { called, formatBytes, titled } from '../../protocol/format.ts';
import type { SnapshotView, TimelineView } from '../../protocol.ts';
import { ask, choose, dialogStyles, leaveMoment } from '../dialog.ts';
import { saveAs } from '../files/uploads.ts';
import { formatMoment } from '../format.ts';
import { type IconName, icon } from '../icons.ts';
import { Marks, markStyles } from '../marks.ts';
import { controls } from '../styles.ts';
import './compare.ts';
import type { CompareDialog } from './compare.ts';
import { drawGraph, type GraphNode, type GraphRow, graphStyles, graphWidth, layOut } from './graph.ts';
import { KINDS, labelOf, matches, narrow, shownAbove, titleOf } from './label.ts';
import { importedNote, keptNote, sharedNote, undoNote } from './notes.ts';
import { timelineStyles } from './styles.ts';

const INTERVALS = { 0: 'never', 5: 'every 5 s', 15: 'every 15 s', 60: 'every minute' };
/** The present of a guest, as a node above the snapshot that it continues from. */
interface Present extends GraphNode {
  present: GuestView;
}
type Node = SnapshotView | Present;
const POWER: Record<GuestView['power'], string> = { on: 'Running', booting: 'Booting', off: 'Halted' };

/** Something that is being done, in words. */
interface Task {
  text: string;
}

/** All snapshots: to take them, go to them, and begin other guests from them. */
export class TimelinePanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    view: { state: true },
    tasks: { state: true },
    filter: { state: true },
    onlyKept: { state: true },
    open: { state: true },
    shared: { state: true },
    imported: { state: true },
    isDropTarget: { state: true },
    marks: { attribute: false },
  };
  static override styles = [controls, dialogStyles, graphStyles, markStyles, timelineStyles];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  declare view: TimelineView | undefined;
  declare tasks: readonly Task[];
  declare filter: string;
  declare onlyKept: boolean;
  /** Id of the snapshot whose further actions are shown. */
  declare open: string;
  /** Name of the file that has the moment which was shared last; '' for none. */
  declare shared: string;
  /** Id of the snapshot that was imported last; '' for none. */
  declare imported: string;
  declare isDropTarget: boolean;
  declare marks: readonly string[];
  /** Of {@link Connection.timelineVersion}: that was asked about last, and that {@link view} is of. */
  #seen = -1;
  #shown = -1;

  constructor() {
    super();
    this.tasks = [];
    this.filter = this.open = this.shared = this.imported = '';
    this.onlyKept = false;
    this.isDropTarget = false;
    this.marks = [];
    new Marks(this);
  }

  override willUpdate(_: PropertyValues): void {
    if (this.#seen === this.connection.timelineVersion) return;
    this.#seen = this.connection.timelineVersion;
    void this.#refresh();
  }

  async #refresh(): Promise<void> {
    const asked = this.#seen;
    const view = await this.connection.attempt(this.connection.worker.timeline.view());
    // An older answer may come after a newer one.
    if (!view || asked < this.#shown) return;
    this.#shown = asked;
    this.view = view;
  }

  get #isBusy(): boolean {
    return this.tasks.length > 0;
  }

  override render() {
    const { view } = this;
    if (!view) return html`<p class="empty">Looking for snapshots</p>`;
    const rows = this.#layOut(view);
    const shown = rows.filter(({ node }) => !('present' in node)).length;
    const isFiltered = shown < view.snapshots.length;
    return html`
      <form class="toolbar" aria-label="Timeline" @submit=${this.#take}>
        <input name="name" aria-label="Name of the snapshot" placeholder="Name" autocomplete="off" spellcheck="false">
        <button type="submit" class="primary" data-mark="snapshot" ?disabled=${this.#isBusy}>${icon('camera')} Snapshot now</button>
        <button type="button" data-mark="fork" ?disabled=${this.#isBusy} @click=${this.#forkNow}>${icon('fork')} Fork</button>
        <button type="button" ?disabled=${this.#isBusy} title="Save this very moment as a file for somebody else" @click=${this.#share}>${icon('share')} Share</button>
        <button type="button" class="plain icon" aria-label="Import a snapshot" title="Import a snapshot" @click=${() => this.renderRoot.querySelector<HTMLInputElement>('#import')!.click()}>${icon('upload')}</button>
        <input type="file" id="import" hidden multiple aria-label="Snapshot to import" @change=${this.#onChosen}>
        <span class="space"></span>
        <label>Automatic <select name="interval" .value=${live(String(view.interval))} @change=${this.#onInterval}>
          ${Object.entries(INTERVALS).map(([seconds, text]) => html`<option value=${seconds} ?selected=${Number(seconds) === view.interval}>${text}</option>`)}
        </select></label>
      </form>
      <div class="toolbar" role="search" aria-label="Filter snapshots">
        <input type="search" aria-label="Filter by name, kind, time or guest" placeholder="Filter" autocomplete="off" spellcheck="false"
          .value=${this.filter} @input=${(event: Event) => (this.filter = (event.target as HTMLInputElement).value)}>
        <button aria-pressed=${this.onlyKept} @click=${() => (this.onlyKept = !this.onlyKept)}>Named or pinned</button>
      </div>
      <div class="scroll">
      <ol class="list" aria-label="Snapshots, newest first" style=${`--graph: ${graphWidth(rows)}px`} ?data-drop=${this.isDropTarget} @dragover=${this.#onDragOver} @dragleave=${() => (this.isDropTarget = false)} @drop=${this.#onDrop}>
        ${rows.map((row, n) => this.#renderRow(row, rows[n + 1]?.node.id))}
        ${view.damaged.map(
          ({ id, reason }) => html`<li data-id=${id}><span></span>
          <span class="text"><span class="what"><span class="name">Damaged</span></span><span class="facts warn">${reason}</span></span>
          <span class="actions"><button class="plain icon" aria-label="Remove: damaged snapshot" title="Remove" ?disabled=${this.#isBusy} @click=${() => this.#remove(id, 'damaged snapshot')}>${icon('trash')}</button></span>
        </li>`,
        )}
      </ol>
      ${keptNote(view, isFiltered ? shown : undefined, this.guest, this.#isBusy, { reset: this.#reset, clear: this.#clear })}
      </div>
      ${this.#isBusy ? html`<div class="tasks" role="status">${this.tasks.map(({ text }) => html`<div><span>${text}</span><progress aria-label=${text}></progress></div>`)}</div>` : nothing}
      ${undoNote(view, this.guest, this.#isBusy, (before) => void this.#rewind(before))}
      ${this.shared ? sharedNote(this.shared, () => (this.shared = '')) : nothing}
      ${importedNote(
        view.snapshots.find(({ id }) => id === this.imported),
        this.#isBusy,
        {
          go: (snapshot) => void this.#open(snapshot, 'rewind'),
          fork: (snapshot) => void this.#open(snapshot, 'fork'),
          dismiss: () => (this.imported = ''),
        },
      )}
      ${view.isKept ? nothing : html`<p class="note warn">${view.reason}</p>`}
      <vm-compare .connection=${this.connection} .snapshots=${view.snapshots}></vm-compare>`;
  }

  /** What is shown: the present of each guest, and the snapshots that match. */
  #layOut({ snapshots }: TimelineView): GraphRow<Node>[] {
    const isShown = (snapshot: SnapshotView) =>
      matches(snapshot, this.filter) &&
      !(this.onlyKept && !snapshot.name && !snapshot.isPinned && snapshot.kind !== 'imported');
    const known = new Map(snapshots.map((snapshot) => [snapshot.id, snapshot]));
    const presents = this.connection.guests.map((guest): Present => {
      const at = snapshots.find(({ guests }) => guests.includes(guest.id));
      return {
        id: `now ${guest.id}`,
        present: guest,
        created: Infinity,
        parent: at ? shownAbove(at.id, known, isShown) : '',
      };
    });
    return layOut<Node>([...presents, ...narrow(snapshots, isShown)], `now ${this.guest.id}`);
  }

  /** `below`: id of the next row's node. */
  #renderRow(row: GraphRow<Node>, below: string | undefined) {
    const { node } = row;
    const parent = this.view!.snapshots.find(({ id }) => id === node.parent);
    return 'present' in node
      ? this.#renderPresent(node.present, row, parent)
      : this.#renderSnapshot(node, row, parent?.id === below ? undefined : parent);
  }

  #renderPresent(guest: GuestView, row: GraphRow<Node>, parent: SnapshotView | undefined) {
    const isAlone = this.connection.guests.length === 1;
    return html`<li data-kind="now" aria-current=${guest.id === this.guest.id ? 'true' : nothing}>${drawGraph(row)}
      <span class="text"><span class="what"><span class="name">Now</span>${isAlone ? nothing : html`<span class="badge">${titled(guest.name)}</span>`}</span>
      <span class="facts">${guest.isAsleep ? 'Asleep' : guest.hasCrashed ? 'Crashed' : POWER[guest.power]}${parent ? `, after “${labelOf(parent)}”` : ''}</span></span></li>`;
  }

  /** `parent`: where it branches off, unless that is the next row. */
  #renderSnapshot(snapshot: SnapshotView, row: GraphRow<Node>, parent: SnapshotView | undefined) {
    const { id, name, kind, created, addedBytes, standstill, guest, guests, damage, isPinned } = snapshot;
    const here = this.connection.guests
      .filter((candidate) => guests.includes(candidate.id))
      .map((candidate) => called(candidate.name));
    const label = labelOf(snapshot);
    const isOpen = this.open === id;
    const aria = (action: string) => `${action}: ${label}`;
    const button = (action: string, image: IconName, run: () => unknown) =>
      html`<button class="plain icon" aria-label=${aria(action)} title=${action} ?disabled=${this.#isBusy} @click=${run}>${icon(image)}</button>`;
    const further = (action: string, image: IconName, run: () => unknown, isPressed?: boolean) =>
      html`<button aria-label=${aria(action)} aria-pressed=${isPressed ?? nothing} ?disabled=${this.#isBusy} @click=${run}>${icon(image)} ${action}</button>`;
    const badges = [name && !['manual', 'start'].includes(kind) ? KINDS[kind] : '', isPinned ? 'Pinned' : ''];
    const isOfOther = guest && !this.connection.guests.every((other) => other.name === guest);
    return html`<li data-kind=${kind} data-mark=${kind === 'manual' ? 'rewind' : nothing} data-id=${id} ?data-here=${here.length}>${drawGraph(row)}
      <span class="text"><span class="what"><span class="name">${titleOf(snapshot)}</span>${badges.map((badge) => (badge ? html`<span class="badge">${badge}</span>` : nothing))}<span class="muted">${formatMoment(created)}</span></span>
      <span class="facts">${[
        here.length ? `Current position${this.connection.guests.length > 1 ? ` of ${here.join(' and ')}` : ''}` : '',
        `${formatBytes(addedBytes)} added`,
        standstill === undefined
          ? ''
          : `paused for ${standstill < 10 ? standstill.toFixed(1) : standstill.toFixed(0)} ms`,
        isOfOther ? `of ${called(guest)}` : '',
        parent ? `after “${labelOf(parent)}”` : '',
      ]
        .filter(Boolean)
        .join(', ')}</span>
      ${damage ? html`<span class="facts warn">Damaged: ${damage}</span>` : nothing}</span>
      <span class="actions">
        ${button('Rewind to', 'rewind', () => this.#rewind(snapshot))}
        ${button('Fork from here', 'fork', () => this.#fork({ snapshot: id }))}
        <button class="plain icon" aria-label=${aria('More')} title="More" aria-expanded=${isOpen} @click=${() => (this.open = isOpen ? '' : id)}>${icon('more')}</button>
      </span>
      ${
        isOpen
          ? html`<span class="further">
        ${kind === 'start' ? nothing : further('Pin', 'pin', () => this.#pin(snapshot), isPinned)}
        ${kind === 'start' ? nothing : further('Rename', 'rename', () => this.#rename(snapshot))}
        ${this.view!.snapshots.length > 1 ? further('Compare', 'compare', () => this.#compare(snapshot)) : nothing}
        ${further('Export', 'download', () => this.#export(id))}
        ${further('Remove', 'trash', () => this.#remove(id, label))}
      </span>`
          : nothing
      }
    </li>`;
  }

  async #do<T>(text: string, action: Promise<T>): Promise<T | undefined> {
    this.dispatchEvent(new Event('begun', { bubbles: true }));
    const task = { text };
    this.tasks = [...this.tasks, task];
    try {
      return await this.connection.attempt(action);
    } finally {
      this.tasks = this.tasks.filter((other) => other !== task);
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
      `Restoring ${called(guest.name)}`,
      leaveMoment(this.shadowRoot!, {
        what: 'Rewind',
        guest: guest.name,
        action: (keep) => timeline.rewind(guest.id, id, keep),
      }),
    );
  }

  readonly #reset = async (): Promise<void> => {
    const { guest, connection } = this;
    const wanted = await ask(this.shadowRoot!, {
      title: `Reset ${called(guest.name)} to its start?`,
      text: 'All changes are discarded: the machine and its files are again as they were at the start. A snapshot of the present is kept for a while.',
      action: 'Reset',
      isDangerous: true,
    });
    if (wanted === undefined) return;
    await this.#do(
      `Resetting ${called(guest.name)}`,
      leaveMoment(this.shadowRoot!, {
        what: 'Reset',
        guest: guest.name,
        action: (keep) => connection.worker.reset(guest.id, keep),
      }),
    );
  };

  readonly #forkNow = async (): Promise<void> => {
    const folder = await choose(this.shadowRoot!, {
      title: `Fork ${called(this.guest.name)}`,
      text: 'A second guest starts from this moment and runs beside this one. With the same folder, both see each other’s changes and locks.',
      choices: { own: 'Folder of its own', shared: 'Same folder' },
    });
    if (folder) await this.#fork({ guest: this.guest.id, folder });
  };

  async #fork(from: Parameters<Connection['fork']>[0]): Promise<void> {
    await this.#do('Starting another guest', this.connection.fork(from));
  }

  /** A snapshot of now, as a file. */
  readonly #share = async (): Promise<void> => {
    const { timeline } = this.connection.worker;
    const take = async () => timeline.export(await timeline.take(this.guest.id, ''));
    const file = await this.#do('Saving this moment', take());
    if (!file) return;
    saveAs(file.blob, file.name);
    this.shared = file.name;
  };

  async #open(snapshot: SnapshotView, how: 'rewind' | 'fork'): Promise<void> {
    this.imported = '';
    await (how === 'rewind' ? this.#rewind(snapshot) : this.#fork({ snapshot: snapshot.id }));
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

  async #pin({ id, isPinned }: SnapshotView): Promise<void> {
    await this.#do(isPinned ? 'Removing the pin' : 'Pinning', this.connection.worker.timeline.pin(id, !isPinned));
  }

  /** With the one that it came from, or the next one that there is. */
  async #compare({ id, parent }: SnapshotView): Promise<void> {
    const other = parent || this.view!.snapshots.find((snapshot) => snapshot.id !== id)!.id;
    await this.renderRoot.querySelector<CompareDialog>('vm-compare')!.show(other, id);
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
    for (const file of input.files ?? []) void this.#import(file);
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
    const id = await this.#do(
      `Importing ${file.name}`,
      this.connection.worker.timeline.import(file).catch((error: Error) => {
        throw new Error(`${file.name} can’t be imported: ${error.message}`);
      }),
    );
    if (id !== undefined) this.imported = id;
  }
}

customElements.define('vm-timeline', TimelinePanel);
