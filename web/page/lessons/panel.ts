import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { saveAs } from '../files/uploads.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import type { Lesson } from './course-format.ts';
import { showGlossary } from './glossary.ts';
import type { Course } from './load.ts';
import { showPrintable } from './printable.ts';
import { renderProse } from './prose.ts';
import { LessonRun } from './run.ts';
import { proseStyles } from './styles.ts';

/** What a course has: its lessons, what was done of it, its glossary. Dispatches `lesson` when one begins. */
export class LessonsPanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    course: { attribute: false },
  };
  static override styles = [
    controls,
    proseStyles,
    css`
    :host { display: flex; flex-direction: column; min-height: 0; }
    .scroll { flex: 1; min-height: 0; overflow: auto; }
    .about-course { padding: 10px 14px 0; }
    h2 { margin: 0; font-size: 16px; }
    .lessons { list-style: none; margin: 0; padding: 6px; }
    .lessons button { width: 100%; display: grid; grid-template-columns: 28px minmax(0, 1fr) auto; gap: 2px 8px; padding: 8px 10px; text-align: start; white-space: normal; }
    .lessons .mark { grid-row: 1 / 3; align-self: start; margin-top: 2px; }
    .lessons .title { font-weight: 600; }
    .lessons .about { grid-column: 2 / 4; font-size: 13px; }
    .lessons .steps { font-size: 12.5px; }
    .mark { display: grid; place-items: center; width: 22px; height: 22px; border: 1.5px solid var(--border); border-radius: 50%; font-size: 12px; font-weight: 600; color: var(--muted); }
    .mark[data-done] { border-color: var(--good); color: var(--good); }
    .mark[data-now] { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  /** Address of the course; '' for the page's own. */
  declare course: string;
  #run: LessonRun | undefined;
  readonly #onChange = () => this.requestUpdate();

  constructor() {
    super();
    this.course = '';
  }

  override willUpdate(_: PropertyValues): void {
    const run = LessonRun.of(this.connection);
    if (run === this.#run) return;
    this.#run?.removeEventListener('change', this.#onChange);
    run.addEventListener('change', this.#onChange);
    this.#run = run;
    void run.load(this.course);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#run?.addEventListener('change', this.#onChange);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#run?.removeEventListener('change', this.#onChange);
  }

  override render() {
    const run = this.#run!;
    const { course } = run;
    if (!course) return html`<p class="muted" style="padding: 14px" role="status">Loading the course</p>`;
    return html`
      <div class="toolbar"><button class="plain" ?disabled=${!course.glossary.length} @click=${() => this.#glossary(course)}>${icon('book')} Glossary</button>
        <button class="plain" @click=${() => showPrintable(course)}>${icon('file')} Print</button>
        <span class="space"></span>
        <button class="plain" title="As a file, for another browser" @click=${() => saveAs(run.progress.export(), 'course-progress.json')}>${icon('download')} Export progress</button>
        <button class="plain" @click=${this.#import}>${icon('upload')} Import</button>
        <input type="file" hidden accept=".json,application/json" aria-label="File with progress" @change=${this.#onFile}></div>
      <div class="scroll" role="region" tabindex="0" aria-label="Lessons">
        <div class="about-course"><h2>${course.title}</h2>${course.address ? html`<p class="muted">A course from ${new URL(course.address).host}</p>` : nothing}
          ${renderProse(course.prose, { onTerm: (id) => this.#glossary(course, id) })}</div>
        <ol class="lessons">${course.lessons.map((lesson, index) => this.#renderLesson(run, course, lesson, index))}</ol></div>`;
  }

  #renderLesson({ progress, lesson: current, count }: LessonRun, { address }: Course, lesson: Lesson, index: number) {
    const result = progress.of(address, lesson.id);
    const steps = lesson.steps.length;
    const state =
      lesson === current && count < steps
        ? `step ${count + 1} of ${steps}`
        : result
          ? result.asked
            ? `done, predicted ${result.right} of ${result.asked}`
            : 'done'
          : `${steps} ${steps === 1 ? 'step' : 'steps'}`;
    return html`<li><button class="plain" aria-current=${lesson === current ? 'true' : nothing} @click=${() => this.#open(lesson)}>
      <span class="mark" ?data-done=${result !== undefined} ?data-now=${lesson === current} aria-hidden="true">${result ? '✓' : index + 1}</span>
      <span class="title">${lesson.title}</span>
      <span class="steps muted">${state}</span>
      <span class="about muted">${lesson.about}</span></button></li>`;
  }

  /** Of the lesson that was left. */
  focusLesson(): void {
    void this.updateComplete.then(() =>
      this.renderRoot.querySelectorAll<HTMLElement>('.lessons button')[this.#left]?.focus(),
    );
  }
  #left = 0;

  #open(lesson: Lesson): void {
    this.#left = this.#run!.course!.lessons.indexOf(lesson);
    void this.#run!.open(lesson, this.guest);
  }

  #glossary(course: Course, id?: string): void {
    showGlossary(this.renderRoot as ShadowRoot, course.glossary, id);
  }

  readonly #import = (): void => this.renderRoot.querySelector<HTMLInputElement>('input[type=file]')!.click();

  readonly #onFile = async (event: Event): Promise<void> => {
    const input = event.target as HTMLInputElement;
    const [file] = input.files ?? [];
    input.value = '';
    if (file) await this.connection.attempt(this.#run!.progress.import(file));
    this.requestUpdate();
  };
}

customElements.define('vm-lessons', LessonsPanel);
