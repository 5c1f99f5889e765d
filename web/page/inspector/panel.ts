import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { controls } from '../styles.ts';
import { tabList, tabStyles } from '../tabs.ts';
import { chooseFolder, chosenDevice, deviceChoice } from '../which-device.ts';
import './device.ts';
import './latency.ts';
import './queues.ts';
import './requests.ts';
import './session.ts';
import './step.ts';

const VIEWS = [
  { id: 'requests', label: 'Requests' },
  { id: 'step', label: 'Step' },
  { id: 'queues', label: 'Queues' },
  { id: 'latency', label: 'Latency' },
  { id: 'device', label: 'Device' },
  { id: 'session', label: 'Session' },
] as const;
type ViewId = (typeof VIEWS)[number]['id'];

/** What is in a guest's device, live. Requests are written down while this is on the page. */
export class InspectorPanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    readonly: { type: Boolean },
    view: { attribute: false },
    marks: { attribute: false },
    queue: { state: true },
  };
  static override styles = [
    controls,
    tabStyles,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; }
    .toolbar { padding: 4px 10px; }
    .tabs { flex: none; padding: 0 6px; border-bottom: 1px solid var(--border); background: var(--raised); }
    .view { flex: 1; min-height: 0; display: flex; flex-direction: column; }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  /** The visitor only looks: steps would hold processes of the guest up. */
  declare readonly: boolean;
  declare view: ViewId;
  /** What a lesson speaks of: see `Marks`. */
  declare marks: readonly string[];
  /** The queue and chain that a request was in. */
  declare queue: { index: number; id: number } | undefined;

  constructor() {
    super();
    this.readonly = false;
    this.view = 'requests';
    this.marks = [];
  }

  override willUpdate(changed: PropertyValues<this>): void {
    // A lesson speaks of the shared folder.
    if (changed.has('marks') && this.marks.length) chooseFolder(this.guest);
    if (!changed.has('guest')) return;
    this.#record(changed.get('guest'), false);
    this.#record(this.guest, true);
    this.queue = undefined;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.hasUpdated) this.#record(this.guest, true);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#record(this.guest, false);
  }

  #record(guest: GuestView | undefined, isOn: boolean): void {
    // A guest that was closed has nothing to be written down.
    if (!guest || !this.connection.has(guest)) return;
    void this.connection.attempt(guest.api.inspector.record(isOn, 'inspector'));
    this.#record(guest.root, isOn);
  }

  override render() {
    const tabs = VIEWS.filter(({ id }) => !this.readonly || id !== 'step');
    const view = tabs.find(({ id }) => id === this.view)?.id ?? 'requests';
    return html`
      ${this.guest.root ? html`<div class="toolbar">${deviceChoice(this.guest, 'Device of', () => this.#chose())}</div>` : nothing}
      ${tabList({ label: 'Inspector', tabs, selected: view, panelPrefix: 'view-', onSelect: (id) => this.#show(id as ViewId) })}
      <div class="view" role="tabpanel" id=${`view-${view}`} aria-labelledby=${`view-${view}-tab`} @queue=${this.#onQueue}>${this.#renderView(view)}</div>`;
  }

  #renderView(view: ViewId) {
    const { connection, marks } = this;
    const guest = chosenDevice(this.guest);
    switch (view) {
      case 'requests':
        return html`<vm-requests .marks=${marks} .connection=${connection} .guest=${guest}></vm-requests>`;
      case 'step':
        return html`<vm-step .marks=${marks} .connection=${connection} .guest=${guest} .isHeld=${guest.isHeld}></vm-step>`;
      case 'queues':
        return html`<vm-queues .marks=${marks} .connection=${connection} .guest=${guest} .chosen=${this.queue}></vm-queues>`;
      case 'latency':
        return html`<vm-latency .connection=${connection} .guest=${guest}></vm-latency>`;
      case 'device':
        return html`<vm-device .marks=${marks} .connection=${connection} .guest=${guest}></vm-device>`;
      case 'session':
        return html`<vm-session .marks=${marks} .connection=${connection} .guest=${guest}></vm-session>`;
    }
  }

  #chose(): void {
    this.queue = undefined;
    this.requestUpdate();
  }

  #show(view: ViewId): void {
    this.view = view;
    this.dispatchEvent(new CustomEvent<ViewId>('view', { detail: view, bubbles: true }));
  }

  readonly #onQueue = ({ detail }: CustomEvent<{ index: number; id: number }>): void => {
    this.queue = detail;
    this.#show('queues');
  };
}

customElements.define('vm-inspector', InspectorPanel);
