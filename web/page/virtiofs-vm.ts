import { html, LitElement, nothing } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { Connection, GuestView } from '../embed/connection.ts';
import { Handle } from '../embed/handle.ts';
import { beginningOfPage, forgetFrom, forgetSnapshot } from '../embed/links.ts';
import type { VirtiofsVmElement, Vm, VmEvents } from '../embed/vm.ts';
import { called, calledFirst, titled } from '../protocol/format.ts';
import { CourseGuide } from './course-guide.ts';
import { choose, dialogStyles, leaveMoment } from './dialog.ts';
import { Drafts } from './files/drafts.ts';
import { type Choice, chosen, readChoices, renderChoice } from './guest-choice.ts';
import { icon } from './icons.ts';
import type { InspectorPanel } from './inspector/panel.ts';
import type { TypeDetail } from './lessons/lesson-view.ts';
import { noGuest, noGuestStyles } from './move/no-guest.ts';
import { folderOf, PANELS, type PanelId, renderPanel } from './panels.ts';
import { bootLogStyles, failedScreen, startScreen, startStyles } from './start-screen.ts';
import './status.ts';
import { controls, tokens } from './styles.ts';
import { tabList, tabStyles } from './tabs.ts';
import { vmStyles } from './vm-styles.ts';
import { begin, inCode, type Tour } from './welcome.ts';
import { isRoot } from './which-device.ts';
import './move/dialog.ts';
import type { GuestTerminals } from './terminals.ts';
import './terminals.ts';

type View = 'terminal' | PanelId;
/** Up to this width there is room for one view at a time. CSS pixels. */
const NARROW = 760;

/** Panels for who is to change nothing. */
const TO_LOOK_AT: ReadonlySet<PanelId> = new Set(['files', 'inspector']);

/** Events that the handle's listeners, and the element's, are told. */
const EVENTS = [
  'ready',
  'progress',
  'problem',
  'statechange',
  'fileschange',
  'timelinechange',
  'output',
] as const satisfies (keyof VmEvents)[];

/** A Linux guest in v86 with a shared folder, all of it in one element. */
export class VirtiofsVm extends LitElement implements VirtiofsVmElement {
  static override properties = {
    src: {},
    root: {},
    snapshot: {},
    files: {},
    command: {},
    readonly: { type: Boolean },
    guests: {},
    store: {},
    panels: {},
    heading: {},
    movable: { type: Boolean },
    welcome: { type: Boolean },
    isWelcoming: { state: true },
    isTouring: { state: true },
    hint: { state: true },
    course: {},
    lesson: {},
    courseOrigins: { attribute: 'course-origins' },
    inspected: { state: true },
    theme: { reflect: true },
    version: { state: true },
    view: { state: true },
    last: { state: true },
  };
  static override styles = [
    tokens,
    controls,
    dialogStyles,
    startStyles,
    bootLogStyles,
    noGuestStyles,
    tabStyles,
    vmStyles,
  ];

  declare src: string | undefined;
  declare root: string | undefined;
  declare snapshot: string | undefined;
  declare files: string | undefined;
  declare command: string | undefined;
  declare readonly: boolean;
  declare guests: string | undefined;
  declare store: string | undefined;
  declare theme: string | undefined;
  declare panels: string | undefined;
  declare heading: string | undefined;
  declare movable: boolean;
  declare welcome: boolean;
  /** Nothing was typed yet, in a first visit. */
  declare isWelcoming: boolean;
  declare isTouring: boolean;
  /** What a tour tells, with code between backticks. */
  declare hint: string;
  /** Address of a course, and id of the lesson that it begins with. */
  declare course: string | undefined;
  declare lesson: string | undefined;
  declare courseOrigins: string | undefined;
  /** The inspector's view. */
  declare inspected: InspectorPanel['view'];
  declare version: number;
  /** What a narrow page shows; wide ones show the terminal anyway, and the last of the others. */
  declare view: View;
  /** The guest that was used last. */
  declare last: number | undefined;
  #panel: PanelId | undefined;
  #choice: Choice | undefined;
  #vm: Handle | undefined;
  /** The guest comes from elsewhere. */
  #isTakingOver = false;
  readonly #closing = new Set<GuestView>();
  readonly #guide = new CourseGuide(this);

  constructor() {
    super();
    this.version = 0;
    this.movable = this.welcome = this.readonly = this.isWelcoming = this.isTouring = false;
    this.hint = '';
    this.view = 'terminal';
    this.inspected = 'requests';
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // Back already: it was moved.
    if (!this.#vm) this.#start();
    for (const type of ['online', 'offline']) addEventListener(type, this.#onNetwork);
  }

  #start(): void {
    this.#choice = chosen(readChoices(this.guests));
    const { root, files, command } = this;
    const { problem, ...linked } = this.movable ? beginningOfPage() : {};
    this.#isTakingOver = linked.from !== undefined;
    const options = { src: this.base, root, files, command, snapshot: this.snapshot, store: this.#store, ...linked };
    if (this.#vm) this.#vm.start(options);
    else {
      this.#vm = new Handle(options, () => this.remove());
      for (const type of EVENTS) this.#vm.on(type, (detail) => this.dispatchEvent(new CustomEvent(type, { detail })));
    }
    const { connection, ready } = this.#vm;
    if (problem) connection.report(problem);
    connection.addEventListener('change', () => this.version++);
    ready.then(
      () => this.#begin(),
      () => {},
    );
  }

  /** Each guest to be chosen has its own; that of the place where a guest is by default has the plain name. */
  get #store(): string | undefined {
    const isOther = this.#choice && this.#choice.src !== (this.src ?? 'guest/');
    return this.store && isOther ? `${this.store}-${this.#choice!.name}` : this.store;
  }

  async #begin(): Promise<void> {
    if (this.movable) {
      forgetFrom();
      forgetSnapshot();
    }
    const { resumed, guests } = this.#vm!.connection;
    this.isWelcoming = this.welcome && !this.readonly && resumed === undefined && guests.length === 1;
    await this.updateComplete;
    if (!this.#vm) return;
    if (!this.readonly && (await this.#guide.begin())) return;
    if (this.autofocus) this.renderRoot.querySelector<HTMLElement>('vm-terminals')?.focus();
  }

  get connection(): Connection {
    return this.#vm!.connection;
  }

  /** The guest that the panels are about. */
  get active(): GuestView {
    return this.#activeOf(this.connection.guests);
  }

  get isNarrow(): boolean {
    return this.clientWidth <= NARROW;
  }

  /** Whether there is a panel of this id. */
  has(panel: string): boolean {
    return this.#panels.some(({ id }) => id === panel);
  }

  #retry(): void {
    this.#start();
    this.requestUpdate();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const type of ['online', 'offline']) removeEventListener(type, this.#onNetwork);
    queueMicrotask(() => {
      if (this.isConnected) return;
      const vm = this.#vm;
      this.#vm = undefined;
      this.#guide.end();
      // Nobody can save them any more.
      for (const guest of vm?.connection.guests ?? []) Drafts.of(guest).removed('');
      vm?.destroy();
    });
  }

  get base(): string {
    return this.#choice?.src ?? this.src ?? 'guest/';
  }

  get vm(): Vm | undefined {
    return this.#vm;
  }

  get #panels(): readonly (typeof PANELS)[number][] {
    const wanted = this.panels?.split(/\s+/);
    return PANELS.filter(({ id }) => (!wanted || wanted.includes(id)) && (!this.readonly || TO_LOOK_AT.has(id)));
  }

  override render() {
    const connection = this.#vm?.connection;
    if (!connection) return nothing;
    const panels = this.#panels;
    const panel = panels.find(({ id }) => id === this.#panel)?.id ?? panels[0]?.id;
    const { guests, progress, problems } = connection;
    const shown = (panel === 'inspector' && this.#guide.device) || (guests.length ? this.#activeOf(guests) : undefined);
    return html`
      ${
        this.heading === undefined
          ? nothing
          : html`<header>
        <h1>${icon('device')} ${this.heading}</h1>
        <vm-status .connection=${connection} .guest=${guests.length ? this.active : undefined} .version=${this.version}></vm-status>
        <span class="space"></span>
        ${renderChoice(readChoices(this.guests), this.#choice)}
        ${this.welcome && !this.readonly && guests.length ? html`<button class="plain icon" aria-label="What is this?" title="What is this?" aria-expanded=${this.isWelcoming} @click=${() => (this.isWelcoming = !this.isWelcoming)}>${icon('help')}</button>` : nothing}
        <button class="plain icon" aria-label="Light or dark" title="Light or dark" @click=${() => this.#toggleTheme()}>${icon('theme')}</button>
      </header>`
      }
      <div class="problems" role="alert" ?hidden=${!problems.length}>
        ${problems.map(
          (message, index) => html`<div class="problem"><span>${message}</span>
          <button class="plain icon" aria-label="Dismiss" @click=${() => connection.dismissProblem(index)}>${icon('close')}</button></div>`,
        )}
      </div>
      ${connection.imageTrouble ? html`<div class="held" role="status"><span>The guest waits for files of its root: ${connection.imageTrouble.message}. Trying again …</span></div>` : nothing}
      ${guests
        .flatMap((guest) => [guest, ...(guest.root ? [guest.root] : [])])
        .filter(({ isHeld }) => isHeld)
        .map(
          (
            guest,
          ) => html`<div class="held" role="status"><span>${calledFirst(guest.name)}’s device is paused: requests to ${isRoot(guest) ? 'its root filesystem' : 'the shared folder'} wait</span>
        <button @click=${() => connection.attempt(connection.hold(guest, false))}>${icon('play')} Continue</button></div>`,
        )}
      ${this.hint ? html`<div class="held" role="status"><span>${inCode(this.hint)}</span><button class="plain icon" aria-label="Dismiss the hint" title="Dismiss" @click=${() => (this.hint = '')}>${icon('close')}</button></div>` : nothing}
      <main data-view=${this.view} ?data-alone=${!panel} ?data-lesson=${this.#guide.isTeaching} @keydown=${this.#onKey} @begun=${this.#onBegun} @type=${this.#onType} @look=${() => this.#guide.look()} @term=${({ detail }: CustomEvent<string>) => connection.attempt(this.#guide.explain(detail))}>
        ${progress ? startScreen(progress, [...connection.consoles.values()].at(-1)) : guests.length ? nothing : this.#renderNoGuest(connection)}
        ${
          guests.length
            ? html`
          <div class="guests">${repeat(
            guests,
            ({ id }) => id,
            (
              guest,
            ) => html`<vm-terminals .connection=${connection} .guest=${guest} .version=${this.version} ?readonly=${this.readonly}
            ?data-active=${guests.length > 1 && guest === this.#activeOf(guests)} @focusin=${() => (this.last = guest.id)} @typed=${this.#onBegun}>
            ${this.movable && !this.readonly ? html`<vm-move slot="actions" .connection=${connection} .guest=${guest} .version=${this.version}></vm-move>` : nothing}
            ${
              guests.length > 1
                ? html`<span slot="name" class="name">${titled(guest.name)}</span>${this.readonly ? nothing : this.#renderClose(connection, guest)}`
                : nothing
            }
          </vm-terminals>`,
          )}${this.isWelcoming ? html`<vm-welcome ?isBusy=${this.isTouring} @close=${this.#onBegun} @tour=${this.#onTour}></vm-welcome>` : nothing}</div>
          ${
            panel
              ? html`<section class="side" aria-label="Panels">
            ${guests.length > 1 && shown ? html`<p class="about">${titled(shown.name)}<span class="muted">, folder ${folderOf(guests, shown)}</span></p>` : nothing}
            ${tabList({ label: 'Panels', tabs: panels, selected: panel, panelPrefix: 'panel-', onSelect: (id) => this.show(id as View) })}
            <div class="panel" role="tabpanel" id=${`panel-${panel}`} aria-labelledby=${`panel-${panel}-tab`} @click=${this.#onBegun} @input=${this.#onBegun} @drop=${this.#onBegun} @view=${this.#onView}>${renderPanel(panel, connection, this.#activeOf(guests), this.version, this.#guide, this.readonly)}</div>
          </section>`
              : nothing
          }${this.#guide.isTeaching ? html`<vm-lesson .connection=${connection} .guest=${this.#activeOf(guests)} .version=${this.version}></vm-lesson>` : nothing}`
            : nothing
        }
      </main>
      ${
        guests.length && panel
          ? html`<nav aria-label="Views">
        ${[{ id: 'terminal', label: 'Terminal', icon: 'terminal' } as const, ...panels].map(
          ({ id, label, icon: name }) =>
            html`<button aria-current=${this.view === id} @click=${() => this.show(id)}>${icon(name)}${label}</button>`,
        )}
      </nav>`
          : nothing
      }`;
  }

  #renderClose(connection: Connection, guest: GuestView) {
    const label = `Close ${called(guest.name)}`;
    return html`<button slot="actions" class="plain icon" aria-label=${label} title=${label} @click=${() => this.#closeOnce(connection, guest)}>${icon('close')}</button>`;
  }

  async #closeOnce(connection: Connection, guest: GuestView): Promise<void> {
    if (this.#closing.has(guest)) return;
    this.#closing.add(guest);
    await connection.attempt(this.#close(connection, guest));
    this.#closing.delete(guest);
  }

  /** With what it was kept, and nothing unsaved left behind unasked. */
  async #close(connection: Connection, guest: GuestView): Promise<void> {
    const drafts = Drafts.of(guest);
    const root = this.renderRoot as ShadowRoot;
    const text = `${drafts.paths.join(', ')}: what you wrote is not saved, and will be lost.`;
    if (
      drafts.paths.length &&
      (await choose(root, { title: `Close ${called(guest.name)}?`, text, choices: { close: 'Close' } })) === undefined
    )
      return;
    if (await leaveMoment(root, { what: 'Close', guest: guest.name, action: (keep) => connection.close(guest, keep) }))
      drafts.removed('');
  }

  #renderNoGuest(connection: Connection) {
    if (connection.hasFailed && !this.#isTakingOver) return failedScreen(() => this.#retry());
    return this.movable ? noGuest(connection) : nothing;
  }

  #activeOf(guests: GuestView[]): GuestView {
    return guests.find(({ id }) => id === this.last) ?? guests[0]!;
  }

  readonly #onView = ({ detail }: CustomEvent<InspectorPanel['view']>) => void (this.inspected = detail);

  /** `view`: a panel, or the terminal. */
  show(view: View): void {
    if (view !== 'terminal') this.#panel = view;
    if (view === 'lessons') void this.connection.attempt(this.#guide.load());
    this.view = view;
    this.requestUpdate();
  }

  /** The visitor does something: the welcome gives way. */
  readonly #onBegun = () => void (this.isWelcoming = false);

  readonly #onNetwork = () => this.requestUpdate();

  readonly #onTour = async ({ detail }: CustomEvent<Tour>): Promise<void> => {
    const { connection } = this.#vm!;
    this.isTouring = true;
    const scene = await connection.attempt(begin(detail, connection, this.#activeOf(connection.guests)));
    this.isTouring = this.isWelcoming = false;
    if (!scene) return;
    this.hint = scene.hint;
    if (!this.has(scene.view)) return;
    this.show(scene.isInTerminal && this.isNarrow ? 'terminal' : scene.view);
    if (scene.view === 'inspector') this.inspected = 'step';
  };

  /** F6 goes from the terminal to the panel and back. */
  readonly #onKey = (event: KeyboardEvent): void => {
    if (event.key !== 'F6' || !this.#panels.length) return;
    event.preventDefault();
    const isInTerminal = event
      .composedPath()
      .some((element) => element instanceof HTMLElement && element.localName === 'vm-terminals');
    if (this.isNarrow) this.show(isInTerminal ? (this.#panel ?? this.#panels[0]!.id) : 'terminal');
    void this.updateComplete.then(() =>
      this.renderRoot
        .querySelector<HTMLElement>(isInTerminal ? '.side [role=tab][aria-selected=true]' : 'vm-terminals')!
        .focus(),
    );
  };

  readonly #onType = ({ detail: { guest, text } }: CustomEvent<TypeDetail>): void => {
    this.isWelcoming = false;
    const terminals = [...this.renderRoot.querySelectorAll<GuestTerminals>('vm-terminals')];
    void terminals.find((candidate) => candidate.guest.id === guest)?.type(text);
  };

  #toggleTheme(): void {
    const isDark = this.theme ? this.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    this.theme = isDark ? 'light' : 'dark';
  }
}

customElements.define('virtiofs-vm', VirtiofsVm);
