import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import { Course, LESSONS } from './course.ts';
import type { Lesson, Step } from './lesson.ts';

/** What a step wants typed: `guest` is the id of the one it is for. */
export interface TypeDetail {
  guest: number;
  text: string;
}

/** Short lessons on the guest that runs. Dispatches `type` for what is to be typed in a terminal. */
export class LessonsPanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    isBusy: { state: true },
  };
  static override styles = [
    controls,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; }
    .scroll { flex: 1; min-height: 0; overflow: auto; }
    .lessons { list-style: none; margin: 0; padding: 6px; }
    .lessons button { width: 100%; display: grid; grid-template-columns: 28px minmax(0, 1fr) auto; gap: 2px 8px; padding: 8px 10px; text-align: start; white-space: normal; }
    .lessons .mark { grid-row: 1 / 3; align-self: start; margin-top: 2px; }
    .lessons .title { font-weight: 600; }
    .lessons .about { grid-column: 2 / 4; font-size: 13px; }
    .lessons .steps { font-size: 12.5px; }
    .mark { display: grid; place-items: center; width: 22px; height: 22px; border: 1.5px solid var(--border); border-radius: 50%; font-size: 12px; font-weight: 600; color: var(--muted); }
    .mark[data-done] { border-color: var(--good); color: var(--good); }
    .mark[data-now] { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
    .lesson { padding: 4px 14px 16px; }
    h2 { margin: 8px 0 4px; font-size: 16px; }
    h2:focus { outline: none; }
    h3 { margin: 0; font-size: 14px; line-height: 22px; }
    p { margin: 4px 0; }
    .steps-list { list-style: none; margin: 14px 0; padding: 0; display: grid; gap: 14px; }
    .steps-list li { display: grid; grid-template-columns: 22px minmax(0, 1fr); gap: 0 10px; }
    .steps-list li > div { min-width: 0; }
    li[data-later] h3 { font-weight: 400; color: var(--muted); }
    .command { display: block; margin: 8px 0; padding: 8px 10px; border-radius: 6px; background: var(--raised); border: 1px solid var(--border); font-family: var(--mono); font-size: 12.5px; overflow-wrap: anywhere; white-space: pre-wrap; }
    .seen { color: var(--good); font-size: 13px; overflow-wrap: anywhere; }
    .so-far { font-size: 13px; color: var(--muted); }
    .end { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 10px 12px; border-radius: 8px; background: var(--accent-soft); }
    .end p { flex: 1 1 100%; margin: 0; font-weight: 600; }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  declare isBusy: boolean;
  #course: Course | undefined;
  readonly #onChange = () => this.requestUpdate();

  constructor() {
    super();
    this.isBusy = false;
  }

  override willUpdate(_: PropertyValues): void {
    const course = Course.of(this.connection);
    if (course === this.#course) return;
    this.#course?.removeEventListener('change', this.#onChange);
    course.addEventListener('change', this.#onChange);
    this.#course = course;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#course?.removeEventListener('change', this.#onChange);
    this.#course = undefined;
  }

  override render() {
    const course = this.#course!;
    return html`
      ${
        course.lesson
          ? html`<div class="toolbar"><button class="plain" @click=${this.#leave}>${icon('back')} All lessons</button><span class="space"></span>
        <button class="plain" @click=${() => this.#open(course.lesson!)}>${icon('rewind')} Restart</button></div>`
          : nothing
      }
      <div class="scroll" role="region" tabindex="0" aria-label="Lessons">${course.lesson ? this.#renderLesson(course, course.lesson) : this.#renderList(course)}</div>
      <div class="visually-hidden" role="status">${course.lesson ? this.#news(course, course.lesson) : ''}</div>`;
  }

  #renderList(course: Course) {
    return html`<ul class="lessons">${LESSONS.map((lesson, index) => {
      const isDone = course.isFinished(lesson);
      return html`<li><button class="plain" @click=${() => this.#open(lesson)}>
        <span class="mark" ?data-done=${isDone} aria-hidden="true">${isDone ? '✓' : index + 1}</span>
        <span class="title">${lesson.title}</span>
        <span class="steps muted">${isDone ? 'done' : `${lesson.steps.length} steps`}</span>
        <span class="about muted">${lesson.about}</span></button></li>`;
    })}</ul>`;
  }

  #renderLesson(course: Course, lesson: Lesson) {
    const { count } = course;
    const next = LESSONS[LESSONS.indexOf(lesson) + 1];
    return html`<div class="lesson">
      <h2 tabindex="-1">${lesson.title}</h2>
      <p class="muted">${lesson.about}</p>
      <ol class="steps-list">${lesson.steps.map(
        (step, index) => html`<li ?data-later=${index > count} aria-current=${index === count ? 'step' : nothing}>
        <span class="mark" ?data-done=${index < count} ?data-now=${index === count} aria-hidden="true">${index < count ? '✓' : index + 1}</span>
        <div><h3>${step.title}${index < count ? html`<span class="visually-hidden">, done</span>` : nothing}</h3>
          ${index < count && course.seen[index] ? html`<p class="seen">${course.seen[index]}</p>` : nothing}
          ${index === count ? this.#renderStep(course, step) : nothing}</div></li>`,
      )}</ol>
      ${
        count === lesson.steps.length
          ? html`<div class="end"><p>Lesson complete. What it made goes when you leave it.</p>
        ${next ? html`<button class="primary" @click=${() => this.#open(next)}>Next: ${next.title}</button>` : nothing}
        <button @click=${this.#leave}>All lessons</button></div>`
          : nothing
      }
    </div>`;
  }

  #renderStep(course: Course, step: Step) {
    const { place } = course;
    const isAmongOthers = this.connection.guests.length > 1;
    return html`<p>${step.text}</p>
      ${course.command === undefined ? nothing : html`<code class="command">${course.command}</code>`}
      ${
        step.where === 'second' && !place
          ? html`<p>There is no second guest with this folder any more. Restart the lesson.</p>`
          : html`
        <button class="primary" ?disabled=${this.isBusy || !course.isLooking} @click=${() => this.#do()}>${icon(step.command === undefined ? 'play' : 'terminal')} Do it for me</button>
        ${step.command !== undefined && isAmongOthers ? html`<span class="muted">in ${place!.name}</span>` : nothing}`
      }
      ${course.soFar ? html`<p class="so-far">${course.soFar}</p>` : html`<p class="so-far">The page notices when it has happened.</p>`}`;
  }

  /** For those who can't see it. */
  #news(course: Course, lesson: Lesson): string {
    const { count } = course;
    const seen = course.seen[count - 1];
    if (!seen) return '';
    return `${lesson.steps[count - 1]!.title}, done: ${seen} ${course.step ? `Next: ${course.step.title}.` : 'That was the last step.'}`;
  }

  #open(lesson: Lesson): void {
    void this.#course!.open(lesson, this.guest);
    void this.#focusTitle();
  }

  readonly #leave = async (): Promise<void> => {
    const index = LESSONS.indexOf(this.#course!.lesson!);
    void this.#course!.close();
    await this.updateComplete;
    this.renderRoot.querySelectorAll<HTMLElement>('.lessons button')[index]?.focus();
  };

  async #focusTitle(): Promise<void> {
    await this.updateComplete;
    this.renderRoot.querySelector('.scroll')!.scrollTop = 0;
    this.renderRoot.querySelector<HTMLElement>('h2')?.focus();
  }

  async #do(): Promise<void> {
    const course = this.#course!;
    const { command } = course;
    if (command !== undefined) {
      const detail: TypeDetail = { guest: course.place!.id, text: command };
      this.dispatchEvent(new CustomEvent('type', { detail, bubbles: true }));
      return;
    }
    this.isBusy = true;
    try {
      await course.act();
    } finally {
      this.isBusy = false;
    }
  }
}

customElements.define('vm-lessons', LessonsPanel);
