import type { Connection, GuestView } from '../connection.ts';
import { REQUEST_LESSONS } from './requests.ts';
import { SESSION_LESSONS } from './sessions.ts';
import type { Lesson, Scene, Seen, Step } from './lesson.ts';

export const LESSONS: readonly Lesson[] = [...REQUEST_LESSONS, ...SESSION_LESSONS];
const KEPT_AS = 'virtiofs-vm.lessons';
/** Milliseconds. */
const INTERVAL = 250;

const courses = new WeakMap<Connection, Course>();

/** The lessons of one page: which one is under way, how far it is, and what the page sees of it. Goes on while other panels are shown. */
export class Course extends EventTarget {
  readonly #connection: Connection;
  /** Steps done, by lesson. */
  readonly #done: Record<string, number>;
  lesson: Lesson | undefined;
  /** What was seen of each step that was done in this visit. */
  seen: string[] = [];
  /** What is seen of the step under way; it is not done. */
  soFar = '';
  #guest: GuestView | undefined;
  #notes = new Map<string, string>();
  #began = 0;
  /** Numbers of the last request that was seen, and of the last one before the step; undefined until they are known. */
  #last: number | undefined;
  #after: number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isBusy = false;

  private constructor(connection: Connection) {
    super();
    this.#connection = connection;
    this.#done = load();
  }

  static of(connection: Connection): Course {
    if (!courses.has(connection)) courses.set(connection, new Course(connection));
    return courses.get(connection)!;
  }

  doneOf({ id, steps }: Lesson): number {
    return Math.min(this.#done[id] ?? 0, steps.length);
  }

  /** Undefined when all are done. */
  get step(): Step | undefined {
    return this.lesson?.steps[this.doneOf(this.lesson)];
  }

  /** The guest that the step is done in. */
  get place(): GuestView | undefined {
    return this.step?.where === 'second' ? this.#second : this.#guest;
  }

  get #second(): GuestView | undefined {
    return this.#connection.guests.find((other) => other !== this.#guest && other.folder === this.#guest?.folder);
  }

  /** Begins a lesson where it was left, or anew. */
  open(lesson: Lesson, guest: GuestView, isAnew = false): void {
    this.#stop();
    if (isAnew) this.#keep(lesson, 0);
    this.lesson = lesson;
    this.#guest = guest;
    this.seen = [];
    this.#notes = new Map();
    this.#last = undefined;
    this.#begin();
    void this.#look();
  }

  close(): void {
    this.lesson = undefined;
    this.#stop();
    this.#changed();
  }

  #begin(): void {
    this.soFar = '';
    this.#began = Date.now();
    this.#after = this.#last;
    clearInterval(this.#timer);
    if (this.step) this.#timer = setInterval(() => void this.#look(), INTERVAL);
    else this.#stop();
    this.#changed();
  }

  #stop(): void {
    clearInterval(this.#timer);
    const guest = this.#guest;
    this.#guest = undefined;
    if (guest && this.#connection.guests.includes(guest)) void this.#connection.attempt(guest.api.inspector.record(false));
  }

  /** What happens from now on will be noticed. */
  get isLooking(): boolean {
    return this.#after !== undefined;
  }

  /** Does the step under way for the visitor, where it is nothing to type. */
  async act(): Promise<void> {
    const scene = this.#guest && this.#scene(this.#guest, []);
    if (scene) await this.#connection.attempt(Promise.resolve(this.step?.act?.(scene)));
  }

  #scene(guest: GuestView, requests: Scene['requests']): Scene {
    return { connection: this.#connection, guest, second: this.#second, requests, began: this.#began, notes: this.#notes };
  }

  async #look(): Promise<void> {
    const { step } = this;
    const guest = this.#guest;
    if (!step || !guest || this.#isBusy) return;
    if (!this.#connection.guests.includes(guest)) return this.close();
    this.#isBusy = true;
    try {
      const { inspector } = guest.api;
      // The inspector's panel ends it when it goes.
      await inspector.record(true);
      const { rows } = (await inspector.requests(-1))!;
      this.#last = rows.at(-1)?.number ?? this.#last ?? 0;
      if (this.#after === undefined) {
        this.#after = this.#last;
        this.#changed();
      }
      const seen = await step.look(this.#scene(guest, rows.filter(({ number }) => number > this.#after!)));
      if (step === this.step && guest === this.#guest) this.#tell(seen);
    } catch (error) {
      this.close();
      this.#connection.report((error as Error).message);
    } finally {
      this.#isBusy = false;
    }
  }

  #tell(seen: Seen | undefined): void {
    if (seen?.isDone) {
      const lesson = this.lesson!;
      this.seen[this.doneOf(lesson)] = seen.text;
      this.#keep(lesson, this.doneOf(lesson) + 1);
      this.#begin();
    } else if (this.soFar !== (seen?.text ?? '')) {
      this.soFar = seen?.text ?? '';
      this.#changed();
    }
  }

  #keep({ id }: Lesson, count: number): void {
    this.#done[id] = count;
    try {
      localStorage.setItem(KEPT_AS, JSON.stringify(this.#done));
    } catch {
      // Pages that may keep nothing begin anew each time.
    }
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}

function load(): Record<string, number> {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEPT_AS) ?? '{}');
    return Object.fromEntries(Object.entries(kept as object).filter(([, count]) => Number.isInteger(count))) as Record<string, number>;
  } catch {
    return {};
  }
}
