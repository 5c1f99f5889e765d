import { css, html, LitElement, nothing } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { Complaint } from '../../protocol/inspector.ts';
import type { DeviceView } from '../../protocol.ts';
import { Marks, markStyles } from '../marks.ts';
import { controls } from '../styles.ts';
import { hex } from './format.ts';
import { Poll } from './poll.ts';
import { explained, specified, type TermId, type Where } from './spec.ts';
import { viewStyles } from './styles.ts';

const COUNTS: Record<string, [term: TermId, show: (queue: DeviceView['queues'][number]) => string | number]> = {
  Size: ['virtqueue', ({ size, isEnabled }) => (isEnabled ? size : `${size}, off`)],
  Kicks: ['kick', ({ kicks }) => kicks],
  Requests: ['request', ({ requests }) => requests],
  'In flight': ['chain', ({ inFlight }) => inFlight],
  'Most at one kick': ['kick', ({ deepest }) => deepest],
  Read: ['descriptor', ({ bytesRead }) => formatBytes(bytesRead)],
  Written: ['used-ring', ({ bytesWritten }) => formatBytes(bytesWritten)],
  Interrupts: ['interrupt', ({ interrupts }) => interrupts],
  'Interrupts suppressed': ['notification-suppression', ({ suppressed }) => suppressed],
};

/** Where names are specified; those of this project, and of PCI itself, are not here. */
const NAMES: Record<string, Where> = {
  VIRTIO_FS_F_NOTIFICATION: '5.11.3',
  VIRTIO_F_INDIRECT_DESC: '2.7.5.3',
  VIRTIO_F_EVENT_IDX: '2.7.7',
  VIRTIO_F_VERSION_1: '6',
  VIRTIO_F_RING_PACKED: '2.8',
  VIRTIO_F_IN_ORDER: '6',
  VIRTIO_F_RING_RESET: '2.6.1',
  VIRTIO_PCI_CAP_COMMON_CFG: '4.1.4.3',
  VIRTIO_PCI_CAP_NOTIFY_CFG: '4.1.4.4',
  VIRTIO_PCI_CAP_ISR_CFG: '4.1.4.5',
  VIRTIO_PCI_CAP_DEVICE_CFG: '4.1.4.6',
  VIRTIO_PCI_CAP_PCI_CFG: '4.1.4.9',
  'ISR status': '4.1.4.5',
};

function named(name: string, where = NAMES[name]): unknown {
  return where ? specified(name, where) : name;
}

/** Those of the common configuration have names as in C. */
function isCommon(register: string): boolean {
  return /^[a-z_]+$/.test(register);
}

/** A row of column headings, each with what explains it. */
function heads(...columns: [name: string, term: TermId, kind?: 'number'][]) {
  return html`<tr>${columns.map(([name, term, kind]) => html`<th class=${kind ?? ''}>${explained(name, term)}</th>`)}</tr>`;
}

const DRIVERS: Record<GuestView['driver'], string> = {
  stock: 'The guest’s kernel has its own driver, which waits for an interrupt after each request.',
  own: 'Driven by a program of yours, without an operating system.',
  fast: 'The guest’s kernel has this project’s fast driver, which looks for the reply when it has kicked the device, and asks for an interrupt only where there is none yet.',
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
      <section data-mark="status"><h2>Device ${pciId}<span class="muted">${explained('virtio-fs', 'virtio-fs')} “${tag}” on PCI, slot ${slot}</span></h2>
        <p>${DRIVERS[this.guest.driver]}</p>
        <p class="muted of-status">${explained('Device status', 'device-status')}</p><ul class="status" aria-label="Device status">${status.filter(({ name, isSet }) => isSet || !/RESET|FAILED/.test(name)).map(({ name, isSet }) => html`<li><span class="chip" ?data-on=${isSet}>${name}<span class="visually-hidden">${isSet ? ' set' : ' not set'}</span></span></li>`)}</ul>
        ${complaint ? html`<p class="bad" role="status">The driver broke a rule, so the device serves nothing until it is ${explained('reset', 'reset')}: ${complaint}.</p>` : nothing}</section>
      <section data-mark="interrupt"><h2>${explained('Interrupt', 'interrupt')}</h2>
        <p><span class="line" ?data-on=${interrupt.isRaised}></span>INTA# is ${interrupt.isRaised ? 'raised' : 'not raised'}${interrupt.isDisabled ? ', and disabled by the driver' : ''}<span class="muted">${
          interrupt.isQueue ? ', used buffers' : ''
        }${interrupt.isConfig ? ', configuration change' : ''}</span></p></section>
      <section data-mark="queues"><h2>${explained('Virtqueues', 'virtqueue')}</h2><div class="wide" role="region" tabindex="0" aria-label="Virtqueues"><table>
        <tr><td></td>${queues.map(({ name }) => html`<th class="number">${name === 'notification' ? explained(name, 'notification-queue') : explained(name, 'virtqueue', '5.11.2')}</th>`)}</tr>
        ${Object.entries(COUNTS).map(([name, [term, show]]) => html`<tr data-mark=${name.toLowerCase().replaceAll(' ', '-')}><td>${explained(name, term)}</td>${queues.map((queue) => html`<td class="number">${show(queue)}</td>`)}</tr>`)}</table></div></section>
      <section data-mark="features"><h2>${explained('Features', 'feature')}</h2><div class="wide" role="region" tabindex="0" aria-label="Features"><table>${heads(['Bit', 'feature'], ['Name', 'feature'], ['Device', 'feature'], ['Driver', 'feature'])}
        ${features.map(({ bit, name, isOffered, isAccepted }) => html`<tr data-mark=${name}><td>${bit}</td><td class="mono">${named(name)}</td><td>${mark(isOffered, 'offers', '–')}</td><td>${mark(isAccepted, 'accepts', '–')}</td></tr>`)}</table></div></section>
      <section data-mark="capabilities"><h2>${explained('PCI capabilities', 'pci-capability')}</h2><div class="wide" role="region" tabindex="0" aria-label="PCI capabilities"><table>${heads(['At', 'pci-capability'], ['Structure', 'pci-capability'], ['BAR', 'bar', 'number'], ['Offset', 'bar', 'number'], ['Length', 'bar', 'number'])}
        ${capabilities.map(
          ({
            at,
            name,
            bar,
            offset,
            length,
          }) => html`<tr data-mark=${name}><td class="mono">${hex(at, 2)}</td><td class="mono">${named(name)}</td>
          <td class="number">${bar ?? ''}</td><td class="number mono">${offset === undefined ? '' : hex(offset, 2)}</td><td class="number mono">${length === undefined ? '' : hex(length, 2)}</td></tr>`,
        )}</table></div></section>
      <section data-mark="registers"><h2>${explained('Registers', 'register')}</h2><div class="wide" role="region" tabindex="0" aria-label="Registers"><table>${heads(['Name', 'register'], ['Value', 'register', 'number'], ['Decimal', 'register', 'number'])}
        ${registers.map(({ name, value }) => html`<tr data-mark=${name}><td class="mono">${named(name, isCommon(name) ? '4.1.4.3' : undefined)}</td><td class="number mono">${hex(value)}</td><td class="number muted">${value}</td></tr>`)}</table></div></section>
    </div>`;
  }
}

customElements.define('vm-device', DevicePanel);
