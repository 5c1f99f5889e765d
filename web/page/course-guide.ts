import type { Connection, GuestView } from '../embed/connection.ts';
import type { InspectorPanel } from './inspector/panel.ts';
import { addressOf, isAllowed, type Place, placeOfPage } from './lessons/links.ts';
import type { LessonsPanel } from './lessons/panel.ts';
import type { LessonRun } from './lessons/run.ts';
import { chooseFolder } from './which-device.ts';

/** Views of the inspector that a lesson may show. */
const INSPECTED = new Set<string>(['requests', 'step', 'queues', 'latency', 'device', 'session']);
const NO_MARKS: readonly string[] = [];

/** What a course needs of the element that it is in. */
interface GuideHost {
  readonly renderRoot: HTMLElement | DocumentFragment;
  readonly updateComplete: Promise<boolean>;
  /** Address of a course, and id of the lesson that it begins with. */
  readonly course: string | undefined;
  readonly lesson: string | undefined;
  /** Servers, by their origins, whose courses the page's address may name beside the page's own. */
  readonly courseOrigins: string | undefined;
  /** The page's address may say it too. */
  readonly movable: boolean;
  /** There is room for one view at a time. */
  readonly isNarrow: boolean;
  readonly connection: Connection;
  readonly active: GuestView;
  has(panel: string): boolean;
  show(view: string): void;
  /** The inspector's view. */
  inspected: InspectorPanel['view'];
  isWelcoming: boolean;
  requestUpdate(): void;
}

/** Leads through a course: loads it when it is asked for, and shows what its steps are about. */
export class CourseGuide {
  readonly #host: GuideHost;
  /** Undefined until the course is loaded. */
  run: LessonRun | undefined;
  /** The lesson and step that were shown last. */
  #at: string | undefined;
  #hadLesson = false;

  constructor(host: GuideHost) {
    this.#host = host;
  }

  /** Where the course is to begin, by this page's address or the element's attributes. */
  get place(): Place | undefined {
    const { course, lesson, movable } = this.#host;
    const own = course ? addressOf(course) : '';
    const asked = movable ? placeOfPage() : undefined;
    if (asked && this.#isRefused(asked)) return { course: own, lesson: undefined, step: 0 };
    if (asked) return { ...asked, course: asked.course || own };
    return course === undefined && lesson === undefined ? undefined : { course: own, lesson, step: 0 };
  }

  #isRefused({ course }: Place): boolean {
    return course !== '' && !isAllowed(course, this.#host.courseOrigins?.split(/\s+/) ?? []);
  }

  /** Begins where the page's address says, now and when it says something else. */
  async begin(): Promise<boolean> {
    const { movable, connection } = this.#host;
    if (movable) addEventListener('hashchange', this.#onHash);
    const asked = movable ? placeOfPage() : undefined;
    if (asked && this.#isRefused(asked))
      connection.report(
        `${asked.course} is not shown: a link may only name a course on the page’s own server, or on one that the page allows. Whoever runs the page can allow others with course-origins.`,
      );
    const { place } = this;
    if (place) await this.open(place);
    return place !== undefined;
  }

  end(): void {
    removeEventListener('hashchange', this.#onHash);
    this.run?.end();
    this.run = this.#at = undefined;
    this.#hadLesson = false;
  }

  readonly #onHash = (): void => {
    const { place } = this;
    if (place?.lesson !== undefined) void this.#host.connection.attempt(this.open(place));
  };

  get isTeaching(): boolean {
    return this.run?.lesson !== undefined;
  }

  /** The inspector's view. */
  get inspected(): InspectorPanel['view'] {
    return this.#host.inspected;
  }

  get marks(): readonly string[] {
    return this.run?.marks ?? NO_MARKS;
  }

  /** The visitor's own device, while a step is about it. */
  get device(): GuestView | undefined {
    return this.run?.device;
  }

  /** Loads what a course takes. */
  async load(): Promise<LessonRun> {
    const { LessonRun } = await import('./lessons/index.ts');
    const run = LessonRun.of(this.#host.connection);
    if (this.run !== run) {
      this.run = run;
      run.addEventListener('change', () => this.#onChange(run));
    }
    return run;
  }

  async open({ course, lesson: id, step }: Place): Promise<void> {
    const host = this.#host;
    const run = await this.load();
    host.isWelcoming = false;
    if (host.has('lessons')) host.show('lessons');
    await run.load(course);
    if (id === undefined || !host.connection.guests.length) return;
    const lesson = run.course!.lessons.find((each) => each.id === id);
    if (lesson) await run.open(lesson, host.active, step);
    else host.connection.report(`The course has no lesson “${id}”. Choose one from the list.`);
  }

  /** A step begins with what it is about. */
  #onChange(run: LessonRun): void {
    const host = this.#host;
    if (run !== this.run) return;
    host.requestUpdate();
    const { lesson, step, count, isWaiting } = run;
    if (lesson) host.isWelcoming = false;
    // Terminal and lesson have room beside each other.
    if (lesson && !this.#hadLesson && host.isNarrow) host.show('terminal');
    const at = step && `${lesson!.id}/${count}${isWaiting ? '/waiting' : ''}`;
    const isOther = at !== undefined && at !== this.#at;
    this.#at = at;
    if (isOther && !host.isNarrow) this.look();
    if (!lesson && this.#hadLesson) void this.#showList();
    this.#hadLesson = lesson !== undefined;
  }

  async #showList(): Promise<void> {
    const host = this.#host;
    if (!host.has('lessons')) return;
    host.show('lessons');
    await host.updateComplete;
    host.renderRoot.querySelector<LessonsPanel>('vm-lessons')?.focusLesson();
  }

  /** Shows what the step under way is about. */
  look(): void {
    const host = this.#host;
    const view = this.run?.show?.view;
    if (!view) return;
    const isInspected = INSPECTED.has(view);
    chooseFolder(host.active);
    const panel = isInspected ? 'inspector' : view;
    if (!host.has(panel)) return;
    host.show(panel);
    if (isInspected) host.inspected = view as InspectorPanel['view'];
  }

  /** Opens the page's glossary at a term of the inspector. */
  async explain(term: string): Promise<void> {
    const [{ pageGlossary }, { showGlossary }] = await Promise.all([
      import('./glossary.ts'),
      import('./lessons/index.ts'),
    ]);
    showGlossary(this.#host.renderRoot as ShadowRoot, pageGlossary(), term);
  }
}
