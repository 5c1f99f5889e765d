import { css, html, LitElement, nothing } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { Complaint } from '../../protocol/inspector.ts';
import type { DeviceView } from '../../protocol.ts';
import { controls } from '../styles.ts';
import { hex } from './format.ts';
import { Marks, markStyles } from './marks.ts';
import { Poll } from './poll.ts';
import { virtioTerm } from './spec.ts';
import { viewStyles } from './styles.ts';

const COUNTS: Record<string, (queue: DeviceView['queues'][number]) => string | number> = {
  Size: ({ size, isEnabled }) => (isEnabled ? size : `${size}, off`),
  Kicks: ({ kicks }) => kicks,
  Requests: ({ requests }) => requests,
  'In flight': ({ inFlight }) => inFlight,
  'Most at one kick': ({ deepest }) => deepest,
  Read: ({ bytesRead }) => formatBytes(bytesRead),
  Written: ({ bytesWritten }) => formatBytes(bytesWritten),
  Interrupts: ({ interrupts }) => interrupts,
  'Interrupts suppressed': ({ suppressed }) => suppressed,
};

const DRIVERS: Record<GuestView['driver'], string> = {
  stock: 'The guest’s kernel has its own driver, which waits for an interrupt after each request.',
  own: 'Driven by a program of yours, without an operating system.',
  fast: 'The guest’s kernel has this project’s fast driver, which looks for the answer when it has notified the device, and asks for an interrupt only where there is none yet.',
};

/** The device as a driver sees it: status, features, capabilities, registers, interrupts and counts. */
export class DevicePanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    device: { state: true },
    marks: { attribute: false },
  };
  static override styles = [
    controls,
    viewStyles,
    markStyles,
    css`
    .status { display: flex; flex-wrap: wrap; gap: 4px 2px; margin: 0; padding: 0; list-style: none; }
    .status li:not(:last-child)::after { content: '›'; margin: 0 4px; color: var(--muted); }
    .of-status { margin: 8px 0 4px; }
    .line { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border: 1.5px solid var(--muted); border-radius: 50%; }
    .line[data-on] { background: var(--accent); border-color: var(--accent); }
    tr:first-child td { border: 0; }
    .bad { color: var(--bad); overflow-wrap: anywhere; }
    .yes { color: var(--good); font-weight: 600; }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare device: (DeviceView & Complaint) | undefined;
  /** See `Marks`. */
  declare marks: readonly string[];

  constructor() {
    super();
    this.marks = [];
    new Marks(this);
    new Poll(this, (guest) => this.#look(guest));
  }

  async #look(guest: GuestView): Promise<void> {
    const device = await guest.api.inspector.device();
    if (guest === this.guest && JSON.stringify(device) !== JSON.stringify(this.device)) this.device = device;
  }

  override render() {
    const { device } = this;
    if (!device) return nothing;
    const { pciId, slot, tag, status, features, capabilities, registers, interrupt, queues, complaint } = device;
    const mark = (is: boolean, yes: string, no: string) =>
      is ? html`<span class="yes">${yes}</span>` : html`<span class="muted">${no}</span>`;
    return html`<div class="scroll" role="region" tabindex="0" aria-label="Device">
      <section data-mark="status"><h2>Device ${pciId}<span class="muted">${virtioTerm('virtio-fs', '5.11')} “${tag}” on PCI, slot ${slot}</span></h2>
        <p>${DRIVERS[this.guest.driver]}</p>
        <p class="muted of-status">${virtioTerm('Device status', '2.1')}</p><ul class="status" aria-label="Device status">${status.filter(({ name, isSet }) => isSet || !/RESET|FAILED/.test(name)).map(({ name, isSet }) => html`<li><span class="chip" ?data-on=${isSet}>${name}<span class="visually-hidden">${isSet ? ' set' : ' not set'}</span></span></li>`)}</ul>
        ${complaint ? html`<p class="bad" role="status">The driver broke a rule, so the device serves nothing until it is reset: ${complaint}.</p>` : nothing}</section>
      <section data-mark="interrupt"><h2>${virtioTerm('Interrupt', '4.1.5.3')}</h2>
        <p><span class="line" ?data-on=${interrupt.isRaised}></span>INTA# is ${interrupt.isRaised ? 'raised' : 'not raised'}${interrupt.isDisabled ? ', and disabled by the driver' : ''}<span class="muted">${
          interrupt.isQueue ? ', used buffers' : ''
        }${interrupt.isConfig ? ', configuration change' : ''}</span></p></section>
      <section data-mark="queues"><h2>${virtioTerm('Virtqueues', '2.6')}</h2><div class="wide" role="region" tabindex="0" aria-label="Virtqueues"><table>
        <tr><td></td>${queues.map(({ name }) => html`<th class="number">${name}</th>`)}</tr>
        ${Object.entries(COUNTS).map(([name, show]) => html`<tr data-mark=${name.toLowerCase().replaceAll(' ', '-')}><td>${name}</td>${queues.map((queue) => html`<td class="number">${show(queue)}</td>`)}</tr>`)}</table></div></section>
      <section data-mark="features"><h2>${virtioTerm('Features', '2.2')}</h2><div class="wide" role="region" tabindex="0" aria-label="Features"><table><tr><th>Bit</th><th>Name</th><th>Device</th><th>Driver</th></tr>
        ${features.map(({ bit, name, isOffered, isAccepted }) => html`<tr data-mark=${name}><td>${bit}</td><td class="mono">${name}</td><td>${mark(isOffered, 'offers', '–')}</td><td>${mark(isAccepted, 'accepts', '–')}</td></tr>`)}</table></div></section>
      <section data-mark="capabilities"><h2>${virtioTerm('PCI capabilities', '4.1.4')}</h2><div class="wide" role="region" tabindex="0" aria-label="PCI capabilities"><table><tr><th>At</th><th>Structure</th><th class="number">BAR</th><th class="number">Offset</th><th class="number">Length</th></tr>
        ${capabilities.map(
          ({
            at,
            name,
            bar,
            offset,
            length,
          }) => html`<tr data-mark=${name}><td class="mono">${hex(at, 2)}</td><td class="mono">${name}</td>
          <td class="number">${bar ?? ''}</td><td class="number mono">${offset === undefined ? '' : hex(offset, 2)}</td><td class="number mono">${length === undefined ? '' : hex(length, 2)}</td></tr>`,
        )}</table></div></section>
      <section data-mark="registers"><h2>${virtioTerm('Registers', '4.1.4.3')}</h2><div class="wide" role="region" tabindex="0" aria-label="Registers"><table><tr><th>Name</th><th class="number">Value</th><th class="number">Decimal</th></tr>
        ${registers.map(({ name, value }) => html`<tr data-mark=${name}><td class="mono">${name}</td><td class="number mono">${hex(value)}</td><td class="number muted">${value}</td></tr>`)}</table></div></section>
    </div>`;
  }
}

customElements.define('vm-device', DevicePanel);
