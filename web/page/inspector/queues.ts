import { css, html, LitElement, nothing } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { DeviceView, QueueView } from '../../protocol.ts';
import { Marks, markStyles } from '../marks.ts';
import { controls } from '../styles.ts';
import { hex } from './format.ts';
import { Poll } from './poll.ts';
import {
  availStrip,
  type Changes,
  chainOf,
  changesOf,
  descriptorMap,
  descriptorTable,
  dial,
  NO_CHANGES,
  ringStyles,
  type Use,
  usedStrip,
} from './ring-picture.ts';
import { explained } from './spec.ts';
import { viewStyles } from './styles.ts';

/** By RING_EVENT_FLAGS_*. */
const EVENT_FLAGS = [
  'for every chain',
  'for no chain',
  'only once the ring reaches entry',
  'for every chain (reserved value)',
];

/** A live picture of one virtqueue, as it is in guest RAM. */
export class QueuesPanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    chosen: { attribute: false },
    marks: { attribute: false },
    index: { state: true },
    queue: { state: true },
    device: { state: true },
    lit: { state: true },
  };
  static override styles = [
    controls,
    viewStyles,
    ringStyles,
    markStyles,
    css`
    .top { display: flex; gap: 14px; align-items: center; }
    .top .facts { flex: 1; }
    .segments { padding: 8px 12px; border-bottom: 1px solid var(--border); }
    .segments button { min-height: 28px; }
    .note { font-size: 12px; color: var(--muted); margin-top: 6px; }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  /** Where a request was, to be shown. */
  declare chosen: { index: number; id: number } | undefined;
  /** Undefined: the first one for requests, whose number depends on what the driver has accepted. */
  declare index: number | undefined;
  /** See `Marks`. */
  declare marks: readonly string[];
  declare queue: QueueView | undefined;
  declare device: DeviceView | undefined;
  /** What is pointed at. */
  declare lit: Use | undefined;
  #changes: Changes = NO_CHANGES;
  readonly #poll = new Poll(this, (guest) => this.#look(guest));

  constructor() {
    super();
    this.marks = [];
    new Marks(this);
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has('chosen') && this.chosen) {
      this.index = this.chosen.index;
      this.lit = { head: this.chosen.id, age: 0 };
    }
    if (changed.get('guest')) this.queue = undefined;
  }

  async #look(guest: GuestView): Promise<void> {
    const { inspector } = guest.api;
    const { index } = this;
    const device = await inspector.device();
    const queue = await inspector.queue(index ?? device.queues.findIndex(({ name }) => name === 'request 1'));
    if (index !== this.index || guest !== this.guest) return;
    if (JSON.stringify(queue) !== JSON.stringify(this.queue)) {
      this.#changes = changesOf(this.queue, queue);
      this.queue = queue;
    }
    if (JSON.stringify(device.queues) !== JSON.stringify(this.device?.queues)) this.device = device;
  }

  override render() {
    const { queue, device } = this;
    if (!queue || !device) return nothing;
    return html`
      <div class="segments" role="group" aria-label="Queue">${device.queues.map(({ name }, index) => html`<button aria-pressed=${index === queue.index} @click=${() => this.#choose(index)}>${name}</button>`)}</div>
      <div class="scroll" role="region" tabindex="0" aria-label="Virtqueue">${queue.isEnabled ? this.#renderQueue(queue, device) : html`<p class="empty">The driver has not enabled this queue.</p>`}</div>`;
  }

  #renderQueue(queue: QueueView, device: DeviceView) {
    const {
      size,
      isPacked,
      queue_desc,
      queue_driver,
      queue_device,
      avail,
      used,
      device: place,
      events,
      inFlight,
    } = queue;
    const { kicks, requests, bytesRead, bytesWritten, interrupts, suppressed } = device.queues[queue.index]!;
    const chain = chainOf(queue, this.lit?.head);
    const onLit = (use: Use | undefined) => (this.lit = use);
    const key = (name: string, text: string) => html`<dt class="key"><i class=${name}></i>${text}</dt>`;
    return html`
      <section class="top">${dial(queue)}<dl class="facts" data-mark="indices">
        <dt>Format</dt><dd>${isPacked ? 'packed' : 'split'}, ${size} descriptors</dd>
        ${avail ? html`${key('driver', 'avail.idx')}<dd>${avail.idx}</dd>` : key('driver', 'available')}
        ${avail ? nothing : html`<dd>from ${place!.next_avail} on</dd>`}
        ${key('device', 'device takes')}<dd>${place!.next_avail}${isPacked ? html`<span class="muted">, wrap ${place!.avail_wrap}</span>` : nothing}</dd>
        ${key('used', isPacked ? 'device returns' : 'used.idx')}<dd>${used?.idx ?? place!.next_used}${isPacked ? html`<span class="muted">, wrap ${place!.used_wrap}</span>` : nothing}</dd>
        <dt>In flight</dt><dd>${inFlight.length ? inFlight.slice(0, 16).join(', ') : 'none'}</dd>
      </dl></section>
      <section data-mark="descriptors"><h2>${explained('Descriptors', 'descriptor', isPacked ? '2.8' : '2.7.5')}<span class="muted">a square each</span></h2>${descriptorMap(queue, chain)}</section>
      ${
        avail && used
          ? html`
        <section data-mark="available"><h2>${explained('Available ring', 'available-ring')}<span class="muted">written by the driver, the last ${avail.ring.length} heads</span></h2>${availStrip(queue, { changed: this.#changes.avail, lit: this.lit, onLit })}
          <p class="note" data-mark="used_event">flags ${avail.flags}${avail.used_event === undefined ? '' : `, used_event ${avail.used_event}: the driver wants an interrupt when used.idx passes it`}</p></section>
        <section data-mark="used"><h2>${explained('Used ring', 'used-ring')}<span class="muted">written by the device: id, len</span></h2>${usedStrip(queue, { changed: this.#changes.used, lit: this.lit, onLit })}
          <p class="note" data-mark="avail_event">flags ${used.flags}${used.avail_event === undefined ? '' : `, avail_event ${used.avail_event}: the device wants a kick when avail.idx passes it`}</p></section>`
          : nothing
      }
      ${events ? html`<section data-mark="events"><h2>${explained('Event suppression', 'notification-suppression', '2.8.10')}</h2>${events.map(({ side, flags, offset, wrap }) => html`<p>The ${side} wants ${side === 'driver' ? 'interrupts' : 'kicks'} ${EVENT_FLAGS[flags]}${flags === 2 ? ` ${offset}, wrap ${wrap}` : ''}.</p>`)}</section>` : nothing}
      <section data-mark="table"><h2>${isPacked ? explained('Descriptor ring', 'packed-ring') : explained('Descriptor table', 'descriptor')}<span class="muted">${isPacked ? 'around the device’s place' : 'of these chains'}; what has changed is coloured</span></h2>
        <div class="wide" role="region" tabindex="0" aria-label="Descriptors">${descriptorTable(queue, { chain, changes: this.#changes, place: isPacked ? place!.next_avail : undefined })}</div></section>
      <section data-mark="counts"><h2>${explained('In guest RAM', 'virtqueue')}</h2><dl class="facts">
        <dt>queue_desc</dt><dd class="mono">${hex(queue_desc)}</dd><dt>queue_driver</dt><dd class="mono">${hex(queue_driver)}</dd><dt>queue_device</dt><dd class="mono">${hex(queue_device)}</dd>
        <dt>So far</dt><dd>${kicks} kicks, ${requests} requests, ${formatBytes(bytesRead)} read, ${formatBytes(bytesWritten)} written, ${interrupts} interrupts, ${suppressed} not wanted</dd></dl></section>`;
  }

  #choose(index: number): void {
    this.index = index;
    this.lit = this.queue = undefined;
    void this.#poll.now();
  }
}

customElements.define('vm-queues', QueuesPanel);
