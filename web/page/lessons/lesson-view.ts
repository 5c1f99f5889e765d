import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { called } from '../../protocol/format.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import type { Lesson, Question, Step } from './course-format.ts';
import './exercise.ts';
import type { Prediction } from './facts.ts';
import { showGlossary } from './glossary.ts';
import { linkToStep } from './links.ts';
import { inline, type ProseOptions, renderProse } from './prose.ts';
import { LessonRun } from './run.ts';
import { proseStyles } from './styles.ts';

/** What a step wants typed: `guest` is the id of the one it is for. */
export interface TypeDetail {
  guest: number;
  text: string;
}

/** The lesson under way, beside what it is about. Dispatches `type` for what is to be typed in a terminal, and `look` to show what a step is about. */
export class LessonView extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    isBusy: { state: true },
    isCatchingUp: { state: true },
    hints: { state: true },
    isSmall: { state: true },
    isCopied: { state: true },
    changes: { state: true },
  };
  static override styles = [
    controls,
    proseStyles,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; background: var(--surface); }
    .toolbar { flex-wrap: nowrap; padding: 4px 8px; }
    h2 { flex: 1; min-width: 0; margin: 0; font-size: 15px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    h2:focus { outline: none; }
    .scroll { flex: 1; min-height: 0; overflow: auto; position: relative; padding: 4px 14px 14px; }
    h3 { margin: 0; font-size: 14px; line-height: 22px; }
    .steps-list { list-style: none; margin: 8px 0; padding: 0; display: grid; gap: 12px; }
    .steps-list > li { display: grid; grid-template-columns: 22px minmax(0, 1fr); gap: 0 10px; }
    .steps-list > li > div { min-width: 0; }
    li[data-later] h3 { font-weight: 400; color: var(--muted); }
    .mark { display: grid; place-items: center; width: 22px; height: 22px; border: 1.5px solid var(--border); border-radius: 50%; font-size: 12px; font-weight: 600; color: var(--muted); }
    .mark[data-done] { border-color: var(--good); color: var(--good); }
    .mark[data-now] { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
    .seen { color: var(--good); font-size: 13px; }
    .so-far { font-size: 13px; color: var(--muted); }
    fieldset { margin: 8px 0; padding: 8px 12px 10px; border: 1px solid var(--border); border-radius: 8px; }
    legend { padding: 0 4px; font-weight: 600; }
    .options { display: grid; gap: 6px; justify-items: start; }
    .options button { white-space: normal; text-align: start; justify-content: start; }
    .verdict { margin: 2px 0; font-size: 13px; }
    .verdict[data-right] { color: var(--good); }
    .verdict[data-wrong] { color: var(--warn); }
    .actions { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-top: 6px; }
    .hint { padding: 4px 10px; border-inline-start: 3px solid var(--accent); }
    .end { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 10px 12px; border-radius: 8px; background: var(--accent-soft); }
    .end p { flex: 1 1 100%; margin: 0; font-weight: 600; }
    :host([data-small]) { flex: none; height: auto; }
    @container (max-width: 480px) { .toolbar .label { position: absolute; clip-path: inset(50%); } }
    .turned { transform: rotate(90deg); }
    .turned.back { transform: rotate(-90deg); }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  declare isBusy: boolean;
  /** The steps before the one that a link leads to are being done. */
  declare isCatchingUp: boolean;
  /** Hints of the step under way that are shown. */
  declare hints: number;
  /** Only its bar is shown. */
  declare isSmall: boolean;
  declare isCopied: boolean;
  /** Of the lesson: each is shown at once. */
  declare changes: number;
  #run!: LessonRun;
  readonly #onChange = () => this.changes++;
  /** What was focused, or brought into sight, last. */
  #at = '';
  readonly #options: ProseOptions = {
    onTerm: (id) => showGlossary(this.renderRoot as ShadowRoot, this.#run.course!.glossary, id),
    onPoint: (mark) => this.#run.point(mark),
  };

  constructor() {
    super();
    this.isBusy = this.isCatchingUp = this.isSmall = this.isCopied = false;
    this.hints = this.changes = 0;
  }

  override willUpdate(_: PropertyValues): void {
    const run = LessonRun.of(this.connection);
    if (run !== this.#run) {
      this.#run?.removeEventListener('change', this.#onChange);
      run.addEventListener('change', this.#onChange);
      this.#run = run;
    }
    this.toggleAttribute('data-small', this.isSmall);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#run?.addEventListener('change', this.#onChange);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#run?.removeEventListener('change', this.#onChange);
  }

  override updated(): void {
    const { lesson, count } = this.#run;
    const at = `${lesson?.id}/${count}`;
    if (at === this.#at) return;
    const isOther = lesson?.id !== this.#at.split('/')[0];
    this.#at = at;
    this.hints = 0;
    if (isOther) this.renderRoot.querySelector<HTMLElement>('h2')?.focus();
    const part = this.renderRoot.querySelector<HTMLElement>('[aria-current=step]');
    const scroll = this.renderRoot.querySelector<HTMLElement>('.scroll');
    // What was seen of the step before is to be seen too. Nothing around the lesson moves.
    const top = part ? ((part.previousElementSibling as HTMLElement | null) ?? part).offsetTop : undefined;
    if (scroll) scroll.scrollTop = top ?? scroll.scrollHeight;
  }

  override render() {
    const run = this.#run;
    const { lesson } = run;
    if (!lesson) return nothing;
    return html`
      <div class="toolbar"><button class="plain" title="All lessons" @click=${() => this.#leave()}>${icon('back')} <span class="label">All lessons</span></button>
        <h2 tabindex="-1">${lesson.title}</h2>
        <button class="plain icon" aria-label="Copy a link to this step" title=${this.isCopied ? 'Copied' : 'Copy a link to this step'} @click=${this.#copy}>${icon('link')}</button>
        <button class="plain icon" aria-label="Restart" title="Restart" @click=${() => run.open(lesson, this.guest)}>${icon('rewind')}</button>
        <button class="plain icon" aria-label=${this.isSmall ? 'Show the lesson' : 'Hide the lesson'} aria-expanded=${!this.isSmall} title=${this.isSmall ? 'Show the lesson' : 'Hide the lesson'} @click=${() => (this.isSmall = !this.isSmall)}><span class=${this.isSmall ? 'turned back' : 'turned'}>${icon('chevron')}</span></button></div>
      ${this.isSmall ? nothing : html`<div class="scroll" role="region" tabindex="0" aria-label="Lesson">${this.#renderLesson(run, lesson)}</div>`}
      <div class="visually-hidden" role="status">${this.#news(run, lesson)}</div>`;
  }

  #renderLesson(run: LessonRun, lesson: Lesson) {
    const { count } = run;
    const lessons = run.course!.lessons;
    const next = lessons[lessons.indexOf(lesson) + 1];
    if (run.lacks.length)
      return html`<p class="muted">${lesson.about}</p>
        <p role="alert">This lesson needs ${run.lacks.join(' and ')}, which this guest does not have. If Debian can be chosen above, choose it, and open the lesson again.</p>`;
    return html`
      <p class="muted">${lesson.about}</p>${renderProse(lesson.prose, this.#options)}
      ${run.wanted > count ? this.#renderWanted(run) : nothing}
      <ol class="steps-list">${lesson.steps.map(
        (step, index) => html`<li ?data-later=${index > count} aria-current=${index === count ? 'step' : nothing}>
        <span class="mark" ?data-done=${index < count} ?data-now=${index === count} aria-hidden="true">${index < count ? '✓' : index + 1}</span>
        <div><h3>${inline(step.title, this.#options)}${index < count ? html`<span class="visually-hidden">, done</span>` : nothing}</h3>
          ${index < count ? this.#renderDone(run, step, index) : nothing}
          ${index === count ? this.#renderStep(run, step) : nothing}</div></li>`,
      )}</ol>
      ${
        count === lesson.steps.length
          ? html`<div class="end"><p>Lesson complete. What it created is removed when you leave it.</p>
        ${next ? html`<button class="primary" @click=${() => run.open(next, this.guest)}>Next: ${next.title}</button>` : nothing}
        <button @click=${() => this.#leave()}>All lessons</button></div>`
          : nothing
      }`;
  }

  /** Programs are the visitor's to write. */
  #renderWanted({ wanted, step }: LessonRun) {
    return html`<div class="actions"><span>The link leads to step ${wanted + 1}, which builds on those before it.</span>
      ${step?.exercise ? html`<span>The program of this step is yours to write.</span>` : html`<button ?disabled=${this.isCatchingUp} @click=${() => this.#catchUp()}>Do them for me</button>`}</div>`;
  }

  #renderDone(run: LessonRun, { question }: Step, index: number) {
    const prediction = run.predictions[index];
    return html`${run.seen[index] ? html`<p class="seen">${run.seen[index]}</p>` : nothing}
      ${question && prediction ? verdict(question, prediction) : nothing}`;
  }

  #renderStep(run: LessonRun, step: Step) {
    const { prediction, command, soFar } = run;
    const isOpen = !step.question || prediction !== undefined;
    return html`${renderProse(step.prose, this.#options)}
      ${step.question ? this.#renderQuestion(run, step.question, prediction) : nothing}
      ${isOpen && command !== undefined ? html`<code class="command">${command}</code>` : nothing}
      ${isOpen ? this.#renderActions(run, step) : nothing}
      ${step.hints.slice(0, this.hints).map((hint) => html`<div class="hint">${renderProse(hint, this.#options)}</div>`)}
      ${this.hints < step.hints.length ? html`<div class="actions"><button class="plain" @click=${() => this.hints++}>${icon('help')} ${this.hints ? 'Another hint' : 'A hint'}</button></div>` : nothing}
      ${step.check && isOpen ? html`<p class="so-far">${soFar || 'The page notices by itself when this is done.'}</p>` : nothing}`;
  }

  #renderQuestion(run: LessonRun, question: Question, prediction: Prediction | undefined) {
    if (prediction?.right !== undefined) return verdict(question, prediction);
    return html`<fieldset><legend>${inline(question.text || 'What do you expect?', this.#options)}</legend><div class="options">
      ${question.options.map(({ text }, index) => html`<button aria-pressed=${index === prediction?.chosen} @click=${() => run.predict(index)}>${inline(text, this.#options)}</button>`)}
      ${prediction ? nothing : html`<button class="plain muted" @click=${() => run.predict(undefined)}>I don’t know: show me</button>`}
    </div></fieldset>`;
  }

  #renderActions(run: LessonRun, step: Step) {
    const { place } = run;
    const isReady = !this.isBusy && run.isLooking;
    if (step.exercise)
      return html`<vm-exercise .run=${run} .exercise=${step.exercise} .options=${this.#options} .version=${this.changes}></vm-exercise>`;
    if (!step.check)
      return html`<div class="actions"><button class="primary" ?disabled=${!isReady} @click=${() => run.goOn()}>Continue</button>${this.#renderLook(step)}</div>`;
    if (step.command?.where === 'second' && !place)
      return html`<p>There is no second guest with this folder any more. Restart the lesson.</p>`;
    if (run.isWaiting && place?.isHeld)
      return html`<div class="actions"><button class="primary" @click=${() => this.#do(() => run.pause(false))}>${icon('play')} Let the device take it</button>${this.#renderLook(step)}
        <span class="muted">The device is paused: what the driver has written is in guest RAM, and waits. Go through it under Step first.</span></div>`;
    if (!step.command && !step.acts.length) return html`<div class="actions">${this.#renderLook(step)}</div>`;
    return html`<div class="actions">
      <button class="primary" ?disabled=${!isReady} @click=${() => this.#doStep(run, step)}>${icon(step.command ? 'terminal' : 'play')} Do it for me</button>
      ${step.command && place && this.connection.guests.length > 1 ? html`<span class="muted">in ${called(place.name)}</span>` : nothing}${this.#renderLook(step)}</div>`;
  }

  #renderLook({ show }: Step) {
    return show
      ? html`<button @click=${() => this.dispatchEvent(new CustomEvent('look', { bubbles: true, composed: true }))}>${icon('inspect')} Show it</button>`
      : nothing;
  }

  /** For those who can't see it. */
  #news(run: LessonRun, lesson: Lesson): string {
    const { count } = run;
    const seen = run.seen[count - 1];
    if (!seen) return '';
    return `${lesson.steps[count - 1]!.title}, done: ${seen} ${run.step ? `Next: ${run.step.title}.` : 'That was the last step.'}`;
  }

  async #doStep(run: LessonRun, step: Step): Promise<void> {
    const { place, answer } = run;
    if (answer === undefined) return this.#do(() => run.act());
    if (step.command!.isPaused) await this.#do(() => run.pause(true));
    this.#type(place!, answer);
  }

  #type({ id }: GuestView, text: string): void {
    const detail: TypeDetail = { guest: id, text };
    this.dispatchEvent(new CustomEvent('type', { detail, bubbles: true, composed: true }));
  }

  async #do(action: () => Promise<void>): Promise<void> {
    this.isBusy = true;
    try {
      await this.connection.attempt(action());
    } finally {
      this.isBusy = false;
    }
  }

  /** Does the steps before the one that a link leads to, up to a program. */
  async #catchUp(): Promise<void> {
    if (this.isCatchingUp) return;
    this.isCatchingUp = true;
    const run = this.#run;
    const { lesson } = run;
    for (let count = -1; run.lesson === lesson && run.count < run.wanted && !run.step?.exercise; ) {
      const { step, place } = run;
      if (!step || !run.isLooking || !place) {
        await run.changed();
        continue;
      }
      if (count !== run.count) {
        count = run.count;
        if (step.question) run.predict(undefined);
        if (!step.check) run.goOn();
        else if (run.answer === undefined) await this.#do(() => run.act());
        else this.#type(place, run.answer);
      }
      if (run.count === count) await run.changed();
    }
    this.isCatchingUp = false;
  }

  #leave(): void {
    void this.#run.close();
  }

  readonly #copy = async (): Promise<void> => {
    const { lesson, count } = this.#run;
    try {
      await navigator.clipboard.writeText(linkToStep(lesson!.id, count));
      this.isCopied = true;
      setTimeout(() => (this.isCopied = false), 2000);
    } catch {
      this.connection.report(
        `The browser does not let the page use the clipboard. The link is ${linkToStep(lesson!.id, count)}`,
      );
    }
  };
}

function verdict({ options }: Question, { chosen, right }: Prediction) {
  if (right === undefined || right < 0) return nothing;
  const answer = options[right]!.text;
  if (chosen === undefined) return html`<p class="verdict muted">The answer: ${answer}</p>`;
  return chosen === right
    ? html`<p class="verdict" data-right>You were right: ${answer}</p>`
    : html`<p class="verdict" data-wrong>You expected “${options[chosen]!.text}”. The answer is: ${answer}</p>`;
}

customElements.define('vm-lesson', LessonView);
