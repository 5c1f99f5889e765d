import xtermCss from '@xterm/xterm/css/xterm.css';
import { css, html, LitElement, nothing, type PropertyValues, unsafeCSS } from 'lit';
import type { Connection, GuestView } from '../embed/connection.ts';
import type { ShellStream } from '../embed/shell-stream.ts';
import { called, calledFirst } from '../protocol/format.ts';
import { icon } from './icons.ts';
import { NetworkWatch } from './network-watch.ts';
import { bootLog, bootLogStyles } from './start-screen.ts';
import { controls } from './styles.ts';
import { tabList, tabStyles } from './tabs.ts';
import { type ExtraKey, TerminalView } from './terminal-view.ts';

/** Ctrl-U. */
const KILL_LINE = '\x15';
/** What terminals answer programs that ask what they are, or where their cursor is. */
const ANSWER = /^\x1b\[[\d;?>]*[Rcn]$/;

/** What a phone's keyboard has no keys for. */
const EXTRA_KEYS: { key: ExtraKey; label: string; name: string }[] = [
  { key: 'Escape', label: 'Esc', name: 'Escape' },
  { key: 'Tab', label: 'Tab', name: 'Tab' },
  { key: 'Left', label: '←', name: 'Left' },
  { key: 'Down', label: '↓', name: 'Down' },
  { key: 'Up', label: '↑', name: 'Up' },
  { key: 'Right', label: '→', name: 'Right' },
];
/** What Ctrl makes something else of: `@` to `_`, and the small letters. */
const CONTROLLABLE = /^[@-_a-z]$/;

/** The shells of one guest, each in a tab. */
export class GuestTerminals extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    readonly: { type: Boolean },
    selected: { state: true },
    isBusy: { state: true },
    isCtrl: { state: true },
    lacksNetwork: { state: true },
  };
  static override styles = [
    unsafeCSS(xtermCss),
    controls,
    tabStyles,
    bootLogStyles,
    css`
    :host { display: flex; flex-direction: column; min-width: 0; min-height: 0; background: var(--surface); }
    .bar { display: flex; align-items: center; gap: 4px; padding: 2px 6px 0; border-bottom: 1px solid var(--border); }
    .name { padding: 0 6px; font-weight: 600; white-space: nowrap; }
    .bar .space { flex: 1; }
    .screens { flex: 1; min-height: 0; position: relative; background: var(--terminal); }
    .terminal { position: absolute; inset: 8px 4px 6px 10px; }
    .screens .empty { color: #9ba8b8; }
    .standstill { position: absolute; inset: 0; z-index: 10; display: grid; place-content: center; justify-items: center; gap: 12px; padding: 16px; background: color-mix(in srgb, var(--surface) 96%, transparent); text-align: center; }
    .standstill p { margin: 0; max-width: 44ch; }
    .tip { position: absolute; inset: auto 10px 10px; z-index: 4; display: flex; align-items: center; gap: 8px; padding: 4px 4px 4px 12px; border: 1px solid var(--border); border-radius: 8px; background: var(--surface); box-shadow: var(--shadow); }
    .tip span { flex: 1; }
    .keys { display: none; gap: 4px; padding: 4px 6px; overflow-x: auto; scrollbar-width: none; border-top: 1px solid var(--border); }
    .keys button { flex: 1 0 44px; min-height: 44px; padding: 4px; }
    .keys button[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
    @media (pointer: coarse) { .keys { display: flex; } }
    .xterm .xterm-viewport { background: transparent !important; scrollbar-color: #3a4350 transparent; }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  /** Changes whenever the guest's fields may have. */
  declare version: number;
  /** The visitor only looks. */
  declare readonly: boolean;
  declare selected: number | undefined;
  /** It is being put to sleep, woken, or started. */
  declare isBusy: boolean;
  /** Ctrl was pressed in the bar of keys, for the key that comes next. */
  declare isCtrl: boolean;
  /** A program has looked for a network, and the visitor was not told yet that there is none. */
  declare lacksNetwork: boolean;
  #isToldOfNetwork = false;
  readonly #views = new Map<ShellStream, TerminalView>();
  readonly #numbers = new WeakMap<ShellStream, number>();

  constructor() {
    super();
    this.readonly = this.isBusy = this.isCtrl = this.lacksNetwork = false;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    queueMicrotask(() => {
      // Back already: it was moved.
      if (this.isConnected) return;
      for (const view of this.#views.values()) view.dispose();
      this.#views.clear();
    });
  }

  get #current(): ShellStream | undefined {
    return this.guest.shells.find(({ id }) => id === this.selected) ?? this.guest.shells.at(-1);
  }

  /** The numbers of those that have gone are given again. */
  #freeNumber(shells: readonly ShellStream[]): number {
    const taken = new Set(shells.map((shell) => this.#numbers.get(shell)));
    for (let number = 1; ; number++) if (!taken.has(number)) return number;
  }

  override render() {
    const { guest } = this;
    const current = this.#current;
    const toggle = guest.isAsleep ? `Wake ${called(guest.name)}` : `Put ${called(guest.name)} to sleep`;
    for (const shell of guest.shells)
      if (!this.#numbers.has(shell)) this.#numbers.set(shell, this.#freeNumber(guest.shells));
    const tabs = guest.shells.map((shell) => ({
      id: String(shell.id),
      label: `Shell ${this.#numbers.get(shell)}`,
      icon: 'terminal' as const,
      ...(!this.readonly && { onClose: () => void this.connection.attempt(guest.api.shells.close(shell.id)) }),
    }));
    return html`
      <div class="bar">
        <slot name="name"></slot>
        ${tabList({ label: `Shells of ${called(guest.name)}`, tabs, selected: String(current?.id), panelPrefix: 'shell-', onSelect: (id) => this.#select(Number(id)) })}
        ${this.readonly ? nothing : html`<button class="plain icon" aria-label="New shell" title="New shell" @click=${() => this.open()}>${icon('plus')}</button>`}
        <span class="space"></span>
        ${this.readonly || !guest.canSleep ? nothing : html`<button class="plain icon" aria-label=${toggle} title=${toggle} ?disabled=${this.isBusy || guest.power !== 'on'} @click=${() => this.#toggleSleep()}>${icon(guest.isAsleep ? 'play' : 'sleep')}</button>`}
        <slot name="actions"></slot>
      </div>
      <div class="screens" @click=${() => this.#focus()}>
        ${guest.shells.length ? '' : html`<p class="empty">The last shell has ended. ${this.readonly ? nothing : html`<button @click=${() => this.open()}>New shell</button>`}</p>`}
        ${this.#renderStandstill()}
        ${this.lacksNetwork ? html`<div class="tip" role="status"><span>This guest has no network. A page can’t open network connections of its own, and through a relay on somebody else’s server would go all that the guest sends. To bring files in, drop them on the Files panel.</span><button class="plain icon" aria-label="Dismiss" title="Dismiss" @click=${() => (this.lacksNetwork = false)}>${icon('close')}</button></div>` : nothing}
      </div>
      ${current && !this.readonly ? this.#renderKeys() : nothing}`;
  }

  /** They leave the focus where it is, and the phone's keyboard open. */
  #renderKeys() {
    return html`<div class="keys" role="toolbar" aria-label="Keys" @pointerdown=${(event: Event) => event.preventDefault()} @mousedown=${(event: Event) => event.preventDefault()}>
      <button aria-pressed=${this.isCtrl} title="Ctrl, for the next key" @click=${() => (this.isCtrl = !this.isCtrl)}>Ctrl</button>
      ${EXTRA_KEYS.map(({ key, label, name }) => html`<button aria-label=${name} @click=${() => this.#press(key)}>${label}</button>`)}
    </div>`;
  }

  #press(key: ExtraKey): void {
    const current = this.#current;
    const view = current && this.#views.get(current);
    view?.press(key, this.isCtrl);
    this.isCtrl = false;
  }

  /** What was typed, with the Ctrl that was pressed in the bar of keys. */
  #withCtrl(text: string): string {
    if (!this.isCtrl || ANSWER.test(text)) return text;
    this.isCtrl = false;
    return CONTROLLABLE.test(text) ? String.fromCharCode(text.charCodeAt(0) & 0x1f) : text;
  }

  /** Over the terminal of a guest that takes no keys. */
  #renderStandstill() {
    const { guest, connection } = this;
    const decide = (runsThere: boolean) => void connection.attempt(connection.decide(guest, runsThere));
    if (connection.undecided.has(guest.id)) {
      return html`<div class="standstill" role="alert"><p>The link broke while ${called(guest.name)} was being switched over. It may run on the other side, so it is paused here. Look there first: it must run on one side only.</p>
        <div><button @click=${() => decide(true)}>It runs there</button> <button @click=${() => decide(false)}>It does not: resume here</button></div></div>`;
    }
    if (guest.power === 'booting')
      return html`<div class="standstill" role="status"><p>${calledFirst(guest.name)} is booting again. Its folder stays as it is.</p>${bootLog(connection.consoles.get(guest.id))}</div>`;
    if (guest.power === 'off') {
      return html`<div class="standstill" role="status"><p>${calledFirst(guest.name)} has ${guest.hasCrashed ? 'crashed' : 'halted'}. Its folder is as it was, and the timeline has earlier moments.</p>
        ${this.readonly ? nothing : html`<button class="primary" ?disabled=${this.isBusy} @click=${() => this.#act(guest.api.start())}>Start again</button>`}</div>`;
    }
    return guest.isAsleep
      ? html`<div class="standstill" role="status"><p>${calledFirst(guest.name)} is asleep. Its files stay open, and its locks held.</p>${this.readonly ? nothing : html`<button class="primary" ?disabled=${this.isBusy} @click=${() => this.#toggleSleep()}>Wake</button>`}</div>`
      : nothing;
  }

  async #toggleSleep(): Promise<void> {
    const { guest } = this;
    await this.#act(guest.isAsleep ? guest.api.wake() : guest.api.suspend());
  }

  async #act(action: Promise<void>): Promise<void> {
    this.isBusy = true;
    await this.connection.attempt(action);
    this.isBusy = false;
  }

  override updated(_: PropertyValues): void {
    const screens = this.renderRoot.querySelector('.screens')!;
    for (const [shell, view] of this.#views) {
      if (this.guest.shells.includes(shell)) continue;
      view.dispose();
      this.#views.delete(shell);
    }
    for (const shell of this.guest.shells) {
      let view = this.#views.get(shell);
      if (!view) {
        view = this.#connect(shell);
        screens.append(view.element);
      }
      const isCurrent = shell === this.#current;
      view.element.id = `shell-${shell.id}`;
      view.element.setAttribute('role', 'tabpanel');
      view.element.setAttribute('aria-labelledby', `shell-${shell.id}-tab`);
      if (view.element.hidden === isCurrent) view.element.hidden = !isCurrent;
      if (isCurrent) view.fit();
    }
  }

  #connect(shell: ShellStream): TerminalView {
    const { connection, guest } = this;
    const network = new NetworkWatch();
    const view = new TerminalView(shell, `Terminal, shell ${this.#numbers.get(shell)} of ${called(guest.name)}`, {
      type: (text) => {
        if (this.readonly && !ANSWER.test(text)) return;
        if (!ANSWER.test(text)) this.dispatchEvent(new Event('typed'));
        void connection.attempt(guest.api.shells.type(shell.id, this.#withCtrl(text)));
      },
      wrote: (bytes) => {
        if (this.#isToldOfNetwork || !network.isMissedIn(bytes)) return;
        this.lacksNetwork = this.#isToldOfNetwork = true;
      },
      resize: (size) => void guest.api.shells.resize(shell.id, size),
    });
    this.#views.set(shell, view);
    return view;
  }

  async open(): Promise<void> {
    const shell = await this.connection.attempt(this.connection.openShell(this.guest));
    if (!shell) return;
    await this.#select(shell.id);
  }

  /** Types a line into the lesson's shell, in place of what is typed there already. In the visitor's own shells something else may run. */
  async type(line: string): Promise<void> {
    const { connection, guest } = this;
    const shell = await connection.attempt(connection.lessonShell(guest));
    if (!shell) return;
    this.selected = shell.id;
    await connection.attempt(guest.api.shells.type(shell.id, `${KILL_LINE}${line}\n`));
  }

  async #select(id: number): Promise<void> {
    this.selected = id;
    await this.updateComplete;
    this.#focus();
  }

  #focus(): void {
    const current = this.#current;
    if (current) this.#views.get(current)?.focus();
  }

  override focus(): void {
    this.#focus();
  }

  /** What the current terminal shows, for tests and assistive tools. */
  get text(): string {
    const current = this.#current;
    return (current && this.#views.get(current)?.text) ?? '';
  }
}

customElements.define('vm-terminals', GuestTerminals);
