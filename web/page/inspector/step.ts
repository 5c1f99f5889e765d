import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import type { QueueView, Walk, WalkStep } from '../../protocol.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import { isRoot } from '../which-device.ts';
import './hex.ts';
import { Marks, markStyles } from '../marks.ts';
import { type Base, baseOf, machinePicture, machineStyles } from './machine-picture.ts';
import { Poll } from './poll.ts';
import { availStrip, descriptorTable, ringStyles, usedStrip } from './ring-picture.ts';
import { explained, source } from './spec.ts';
import { viewStyles } from './styles.ts';
import { isToWalk } from './walking.ts';

/** In the order of a request's way. */
const STAGES: Record<WalkStep['stage'], TemplateResult> = {
  message: explained('Message', 'chain'),
  available: explained('Available', 'available-ring'),
  kick: explained('Kick', 'kick'),
  descriptors: explained('Descriptors', 'descriptor'),
  request: explained('Request', 'request'),
  answer: explained('Reply', 'reply'),
  used: explained('Used', 'used-ring'),
  interrupt: explained('Interrupt', 'interrupt'),
};
const ORDER = Object.keys(STAGES) as WalkStep['stage'][];
/** What makes a request, whatever the guest has in its caches. */
const EXAMPLES = { folder: 'cat README.txt', root: 'touch /' };
const SLOWLY = 2500;
/** How fast it goes by itself: milliseconds for each step, 0 for not at all. */
const SPEEDS = [
  { label: 'By hand', pause: 0 },
  { label: 'Slowly', pause: SLOWLY },
  { label: 'Steadily', pause: 1200 },
  { label: 'Fast', pause: 350 },
] as const;

/** The device held before a request, which is walked through it step by step. */
export class StepView extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    isHeld: { attribute: false },
    marks: { attribute: false },
    walk: { state: true },
    at: { state: true },
    queue: { state: true },
    pause: { state: true },
  };
  static override styles = [
    controls,
    viewStyles,
    ringStyles,
    markStyles,
    machineStyles,
    css`
    .intro { display: grid; gap: 12px; align-content: start; padding: 16px; }
    .intro > div { display: flex; flex-wrap: wrap; gap: 8px; }
    .intro h2 { margin: 0; font-size: 15px; }
    .intro .mono { padding: 1px 5px; border-radius: 4px; background: var(--hover); }
    .route { display: flex; gap: 3px; margin: 0; padding: 8px 12px; list-style: none; border-bottom: 1px solid var(--border); }
    .route li { flex: 1 1 auto; padding: 2px 4px 4px; border-bottom: 3px solid var(--hover); font-size: 12px; text-align: center; color: var(--muted); white-space: nowrap; }
    .route li[data-done] { border-color: var(--accent); }
    .route li[aria-current] { border-color: var(--accent); background: var(--accent-soft); color: var(--text); font-weight: 600; border-radius: 4px 4px 0 0; }
    section > h2 { margin: 0 0 6px; font-size: 15px; }
    .section { margin-top: 8px; font-size: 12px; color: var(--muted); }
    .actions { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; padding: 8px 12px; border-top: 1px solid var(--border); }
    .actions .space { flex: 1; }
    @container (max-width: 700px) {
      .route { display: grid; grid-template-columns: repeat(4, auto); }
    }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare isHeld: boolean;
  /** See `Marks`. */
  declare marks: readonly string[];
  declare walk: Walk | undefined;
  /** Index of the step that is shown. */
  declare at: number;
  declare queue: QueueView | undefined;
  /** One of {@link SPEEDS}. */
  declare pause: number;
  #base: Base = { avail: 0, used: 0 };
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.marks = [];
    new Marks(this);
    new Poll(this, (guest) => this.#look(guest));
    this.at = this.pause = 0;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (!changed.has('guest') && !changed.has('isHeld')) return;
    this.#show(undefined);
    if (this.isHeld && isToWalk(this.guest)) this.pause = SLOWLY;
  }

  async #look(guest: GuestView): Promise<void> {
    if (!this.isHeld || this.walk) return;
    const walk = await guest.api.inspector.walk();
    if (!walk || guest !== this.guest || !this.isHeld) return;
    await this.#loadQueue(walk);
    this.#show(walk);
  }

  async #loadQueue({ queue, isServed }: Walk): Promise<void> {
    this.queue = await this.guest.api.inspector.queue(queue);
    if (!isServed) this.#base = baseOf(this.queue);
  }

  override updated(changed: Map<string, unknown>): void {
    if (!['walk', 'at', 'pause', 'isHeld'].some((name) => changed.has(name))) return;
    clearTimeout(this.#timer);
    if (this.pause && this.walk && this.isHeld) this.#timer = setTimeout(() => this.#goOn(), this.pause);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // It was taken out, and does not go on by itself any more.
    if (this.hasUpdated) this.requestUpdate('pause');
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
  }

  /** To the next step, whatever that takes. */
  #goOn(): void {
    const { walk, at } = this;
    if (!walk) return;
    if (at < walk.steps.length - 1) this.at++;
    else void (walk.isServed ? this.#next() : this.#serve());
  }

  #show(walk: Walk | undefined, at = walk?.isServed ? walk.steps.length - 1 : 0): void {
    this.walk = walk;
    this.at = at;
  }

  get #where(): string {
    return isRoot(this.guest) ? 'the root filesystem' : 'the shared folder';
  }

  get #example(): string {
    return isRoot(this.guest) ? EXAMPLES.root : EXAMPLES.folder;
  }

  override render() {
    const { walk } = this;
    if (!this.isHeld) {
      return html`${this.#renderRoute(undefined)}<div class="scroll intro" role="region" tabindex="0" aria-label="Step">
        <h2>Walk one request through the device</h2>
        <p>The device stops before the next request to ${this.#where}, and you follow that request through the virtqueue, FUSE and the filesystem: what happens, where the specification says so, and the bytes. Meanwhile the guest keeps running; only processes that ask for something wait.</p>
        <div><button class="primary" @click=${() => this.#hold(true)}>${icon('pause')} Pause before the next request</button></div></div>`;
    }
    if (!walk) {
      return html`${this.#renderRoute(undefined)}<div class="scroll intro" role="region" tabindex="0" aria-label="Step">
        <h2>The device waits for a request</h2>
        <p role="status">Type <span class="mono">${this.#example}</span> in the terminal, or anything else that has to do with ${this.#where}.</p>
        <div>${this.#renderSpeed()}</div>
        <div><button class="primary" @click=${this.#type}>${icon('terminal')} Type it for me</button>
        <button @click=${() => this.#hold(false)}>${icon('play')} Continue without</button></div></div>`;
    }
    const step = walk.steps[this.at]!;
    const isLast = this.at === walk.steps.length - 1;
    return html`
      ${this.#renderRoute(step)}
      <div class="scroll" role="region" tabindex="0" aria-label="Step" @keydown=${this.#onKey}>
        <section aria-live="polite"><h2>${step.title}</h2><p>${step.text}</p>
          <p class="section">${source(step.section)}</p></section>
        ${this.queue ? machinePicture(this.queue, this.#base, step) : nothing}
        ${this.#renderEvidence(step)}
      </div>
      <div class="actions" @keydown=${this.#onKey}>
        <button ?disabled=${this.at === 0} @click=${() => this.at--}>Back</button>
        ${
          !isLast
            ? html`<button class="primary" @click=${() => this.at++}>Next</button>`
            : walk.isServed
              ? html`<button class="primary" @click=${this.#next}>${icon('step')} Next request</button>`
              : html`<button class="primary" @click=${this.#serve}>${icon('step')} Serve it</button>`
        }
        <span class="muted">${this.#place(walk.steps)}</span>
        ${this.#renderSpeed()}
        <span class="space"></span>
        ${isLast ? nothing : html`<button title="Serves this request, and waits for the next one" @click=${this.#next}>Skip it</button>`}
        <button @click=${() => this.#hold(false)}>${icon('play')} Continue</button>
      </div>`;
  }

  #renderSpeed() {
    return html`<label class="muted">Speed <select @change=${(event: Event) => (this.pause = Number((event.target as HTMLSelectElement).value))}>
      ${SPEEDS.map(({ label, pause }) => html`<option value=${pause} ?selected=${pause === this.pause}>${label}</option>`)}</select></label>`;
  }

  /** As the route above counts. Of several steps at one stage, which one. */
  #place(steps: readonly WalkStep[]): string {
    const { stage } = steps[this.at]!;
    const together = steps.filter((step) => step.stage === stage);
    const part = together.length > 1 ? `, part ${together.indexOf(steps[this.at]!) + 1} of ${together.length}` : '';
    return `Stage ${ORDER.indexOf(stage) + 1} of ${ORDER.length}${part}`;
  }

  /** `step`: where it is; undefined while there is no request. */
  #renderRoute(step: WalkStep | undefined) {
    const now = step ? ORDER.indexOf(step.stage) : -1;
    return html`<ol class="route" aria-label="The request’s way">${ORDER.map((stage, n) => html`<li ?data-done=${n < now} aria-current=${n === now ? 'step' : nothing}>${STAGES[stage]}</li>`)}</ol>`;
  }

  /** What the step can be seen by. */
  #renderEvidence({ stage, descriptor, isInner = false, bytes, fields, title }: WalkStep) {
    const { queue } = this;
    const options = { changed: 1 };
    return html`
      ${queue?.avail && stage === 'available' ? html`<section data-mark="available">${availStrip(queue, options)}</section>` : nothing}
      ${queue?.used && stage === 'used' ? html`<section data-mark="used">${usedStrip(queue, options)}</section>` : nothing}
      ${descriptor && queue ? html`<section data-mark="descriptors"><div class="wide" role="region" tabindex="0" aria-label="Descriptor">${descriptorTable({ ...queue, descriptors: [descriptor] }, { isInner })}</div></section>` : nothing}
      ${bytes?.length ? html`<section data-mark="bytes"><vm-hex .marks=${this.marks} .label=${title} .bytes=${bytes} .fields=${fields ?? []}></vm-hex></section>` : nothing}`;
  }

  async #hold(isHeld: boolean): Promise<void> {
    await this.connection.attempt(this.connection.hold(this.guest, isHeld));
  }

  readonly #type = async (): Promise<void> => {
    const {
      guest,
      guest: {
        api: { shells },
      },
    } = this;
    const shell = guest.shells.at(-1) ?? (await this.connection.attempt(this.connection.openShell(guest)));
    if (shell) await this.connection.attempt(shells.type(shell.id, `${this.#example}\n`));
  };

  readonly #serve = async (): Promise<void> => {
    const before = this.walk!.steps.length;
    const walk = await this.connection.attempt(this.guest.api.inspector.serve());
    if (!walk) return this.#show(undefined);
    await this.#loadQueue(walk);
    this.#show(walk, walk.isServed ? before : 0);
  };

  readonly #next = async (): Promise<void> => {
    const { inspector } = this.guest.api;
    const walk = await this.connection.attempt(inspector.serve().then(() => inspector.next()));
    if (walk) await this.#loadQueue(walk);
    this.#show(walk);
  };

  readonly #onKey = (event: KeyboardEvent): void => {
    const target = { ArrowRight: this.at + 1, ArrowLeft: this.at - 1 }[event.key];
    if (
      target === undefined ||
      !this.walk?.steps[target] ||
      event.composedPath().some((element) => element instanceof Element && element.getAttribute('role') === 'listbox')
    )
      return;
    event.preventDefault();
    this.at = target;
  };
}

customElements.define('vm-step', StepView);
