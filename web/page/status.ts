import { html, LitElement, nothing } from 'lit';
import type { Connection, GuestView } from '../embed/connection.ts';
import { called, formatBytes } from '../protocol/format.ts';
import type { MemoryUse } from '../protocol.ts';
import { formatMoment } from './format.ts';

/** Memory is looked at when something else has changed, and no more often. Milliseconds. */
const MEASURE_INTERVAL = 5000;

/** What goes on, in a word or two; and what else there is to say where there is room. */
interface Status {
  text: string;
  detail: string;
  /** `busy`: it will change by itself. */
  tone: 'good' | 'busy' | 'idle' | 'bad';
}

/** What it takes to tell. */
type Told = Pick<
  Connection,
  'progress' | 'hasFailed' | 'isDead' | 'move' | 'undecided' | 'imageTrouble' | 'startTime' | 'resumed'
> & { guests: readonly unknown[] };
type StatusGuest = Pick<GuestView, 'id' | 'power' | 'hasCrashed' | 'isAsleep' | 'isHeld'> & {
  root?: Pick<GuestView, 'isHeld'> | undefined;
};

/** Of a guest, or of a page that has none. */
export function statusOf(connection: Told, guest: StatusGuest | undefined): Status {
  const { progress, hasFailed, isDead, move, undecided, imageTrouble, startTime, resumed } = connection;
  const status = (text: string, tone: Status['tone'], detail = ''): Status => ({ text, detail, tone });
  if (isDead) return status('Stopped', 'bad', 'the emulator has failed: reload the page');
  if (progress) return status('Starting', 'busy');
  if (!guest) return hasFailed ? status('Not started', 'bad') : status('Moved away', 'idle');
  if (undecided.has(guest.id)) return status('Paused', 'bad', 'it may run elsewhere');
  if (move?.guest === guest.id) return status('Moving', 'busy');
  if (guest.power === 'booting') return status('Booting', 'busy');
  if (guest.power === 'off') return guest.hasCrashed ? status('Crashed', 'bad') : status('Halted', 'idle');
  if (guest.isAsleep) return status('Asleep', 'idle');
  if (guest.isHeld || guest.root?.isHeld) return status('Running', 'busy', 'its device is paused');
  if (imageTrouble) return status('Waiting', 'busy', 'for files of its root filesystem');
  const details = [
    resumed !== undefined && connection.guests[0] === guest && `resumed from ${formatMoment(resumed)}`,
    startTime !== undefined && connection.guests[0] === guest && `started in ${(startTime / 1000).toFixed(1)} s`,
  ];
  return status('Running', 'good', details.filter(Boolean).join(', '));
}

/** What a guest does, and how much memory all of them take. Styled by what it is in. */
export class StatusLine extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    memory: { state: true },
  };

  declare connection: Connection;
  /** The one that the panels are about; undefined where a page has none. */
  declare guest: GuestView | undefined;
  /** Changes whenever there may be something else to tell. */
  declare version: number;
  declare memory: MemoryUse | undefined;
  #measured = -Infinity;

  protected override createRenderRoot(): this {
    return this;
  }

  override updated(): void {
    const { connection } = this;
    if (!this.guest || connection.isDead || performance.now() - this.#measured < MEASURE_INTERVAL) return;
    this.#measured = performance.now();
    void connection.worker.memory().then((memory) => {
      if (connection === this.connection) this.memory = memory;
    });
  }

  override render() {
    const { connection, guest, memory } = this;
    const { text, detail, tone } = statusOf(connection, guest);
    const name = guest && connection.guests.length > 1 ? ` (${called(guest.name)})` : '';
    return html`<span class="state muted" role="status" data-tone=${tone}>${text}<span class="detail">${name}${detail && `, ${detail}`}</span></span>${navigator.onLine ? nothing : html`<span class="offline muted">Offline</span>`}${memory && guest ? renderMemory(memory) : nothing}`;
  }
}

function renderMemory({ guests, folders }: MemoryUse) {
  const title = `Memory: ${formatBytes(guests)} for guests and their emulators, ${formatBytes(folders)} for files of shared folders. The page’s own programs, and what was fetched of images, come on top.`;
  return html`<span class="memory muted" title=${title}>${formatBytes(guests + folders)} of memory</span>`;
}

customElements.define('vm-status', StatusLine);
