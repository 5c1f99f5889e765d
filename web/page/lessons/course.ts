import type { Connection, GuestView } from '../../embed/connection.ts';
import type { GuestId } from '../../protocol.ts';
import { holdOn, type Lesson, type Scene, type Seen, type Step } from './lesson.ts';
import { REQUEST_LESSONS } from './requests.ts';
import { SESSION_LESSONS } from './sessions.ts';

export const LESSONS: readonly Lesson[] = [...REQUEST_LESSONS, ...SESSION_LESSONS];
const KEPT_AS = 'virtiofs-vm.lessons done';
/** Milliseconds. */
const INTERVAL = 250;

const courses = new WeakMap<Connection, Course>();

/**
 * The lessons of one page: which one is under way, how far it is, and what the page sees of it. Goes on while other panels are shown. What a
 * lesson makes goes when it is left, and a lesson that was left begins from its first step.
 */
export class Course extends EventTarget {
  readonly #connection: Connection;
  /** Ids of the lessons that were done to the end. */
  readonly #finished: Set<string>;
  lesson: Lesson | undefined;
  /** Steps done. */
  count = 0;
  /** What was seen of each step that was done. */
  seen: string[] = [];
  /** What is seen of the step under way; it is not done. */
  soFar = '';
  #guest: GuestView | undefined;
  #path = '';
  #notes = new Map<string, string>();
  #opened = new Set<GuestId>();
  #taken = new Set<string>();
  #began = 0;
  /** Numbers of the last request that was seen, and of the last one before the step; undefined until they are known. */
  #last: number | undefined;
  #after: number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isBusy = false;
  /** Counts what was opened and left: what began before, and ends later, is of a lesson that is over, even if the same one was opened again. */
  #visit = 0;
  /** Lessons begin, do things and end one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(connection: Connection) {
    super();
    this.#connection = connection;
    this.#finished = load();
  }

  static of(connection: Connection): Course {
    if (!courses.has(connection)) courses.set(connection, new Course(connection));
    return courses.get(connection)!;
  }

  isFinished({ id }: Lesson): boolean {
    return this.#finished.has(id);
  }

  /** Undefined when all are done. */
  get step(): Step | undefined {
    return this.lesson?.steps[this.count];
  }

  /** The step's command, as it is to be typed. */
  get command(): string | undefined {
    return this.#guest && this.step?.command?.(this.#guest.mountPoint + this.#path);
  }

  /** The guest that the step is done in. */
  get place(): GuestView | undefined {
    return this.step?.where === 'second' ? this.#second : this.#guest;
  }

  get #second(): GuestView | undefined {
    return this.#connection.guests.find((other) => other !== this.#guest && other.folder === this.#guest?.folder);
  }

  /** Begins a lesson, after the one under way has ended. */
  open(lesson: Lesson, guest: GuestView): Promise<void> {
    const visit = this.#leave();
    this.lesson = lesson;
    this.count = 0;
    this.seen = [];
    this.#notes = new Map();
    this.#last = this.#after = undefined;
    this.#changed();
    return this.#inTurn(async () => {
      if (visit !== this.#visit) return;
      const path = await guest.api.lesson.begin(`lesson-${lesson.id}`, lesson.files, lesson.others ?? []);
      await this.#connection.lessonShell(guest);
      this.#guest = guest;
      this.#path = path;
      if (visit !== this.#visit) return;
      this.#begin();
      void this.#look();
    });
  }

  close(): Promise<void> {
    this.#leave();
    this.lesson = undefined;
    this.#changed();
    return this.#inTurn(async () => {});
  }

  /** Clears up, when what is under way is done. Returns the number of what comes next. */
  #leave(): number {
    clearInterval(this.#timer);
    const { lesson } = this;
    if (lesson) void this.#inTurn(() => this.#clear(lesson));
    return ++this.#visit;
  }

  async #clear({ steps }: Lesson): Promise<void> {
    const connection = this.#connection;
    const guest = this.#guest;
    this.#guest = undefined;
    const [opened, taken] = [this.#opened, this.#taken];
    this.#opened = new Set();
    this.#taken = new Set();
    if (!guest) return;
    const isHere = connection.guests.includes(guest);
    if (isHere) {
      if (guest.isHeld && steps.some(({ act }) => act === holdOn)) await connection.hold(guest, false);
      await guest.api.inspector.record(false);
      // Of the guests with the folder one stays.
      for (const other of connection.guests) if (opened.has(other.id)) await connection.close(other, false);
    }
    const { snapshots } = await connection.worker.timeline.view();
    for (const { id } of snapshots) if (taken.has(id)) await connection.worker.timeline.remove(id);
    const heir = isHere ? guest : connection.guests.find(({ folder }) => folder === guest.folder);
    await heir?.api.lesson.end();
  }

  /** A failure is shown, and the next one has its turn. */
  #inTurn(action: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(() => this.#connection.attempt(action()));
    this.#turn = result;
    return result.then(() => {});
  }

  #begin(): void {
    this.soFar = '';
    this.#began = Date.now();
    this.#after = this.#last;
    clearInterval(this.#timer);
    if (this.step) this.#timer = setInterval(() => void this.#look(), INTERVAL);
    this.#changed();
  }

  /** What happens from now on will be noticed. */
  get isLooking(): boolean {
    return this.#after !== undefined;
  }

  /** Does the step under way for the visitor, where it is nothing to type. */
  act(): Promise<void> {
    const visit = this.#visit;
    return this.#inTurn(async () => {
      if (visit === this.#visit && this.#guest) await this.step?.act?.(this.#scene(this.#guest, []));
    });
  }

  #scene(guest: GuestView, requests: Scene['requests']): Scene {
    return {
      connection: this.#connection,
      guest,
      second: this.#second,
      requests,
      began: this.#began,
      notes: this.#notes,
      path: this.#path,
      opened: this.#opened,
      taken: this.#taken,
    };
  }

  async #look(): Promise<void> {
    const { step } = this;
    const guest = this.#guest;
    if (!step || !guest || this.#isBusy) return;
    if (!this.#connection.guests.includes(guest)) return this.close();
    this.#isBusy = true;
    const visit = this.#visit;
    const isOver = () => visit !== this.#visit;
    try {
      const isThere = await guest.api.folder.stat(this.#path);
      if (isOver()) return;
      if (!isThere) {
        this.#connection.report(
          `The lesson has ended, because its folder ${this.#path} is gone. Open it again to restart.`,
        );
        return await this.close();
      }
      const { inspector } = guest.api;
      // The inspector's panel ends it when it goes.
      await inspector.record(true);
      const { last, rows } = await inspector.requestsAfter(this.#after ?? Infinity);
      if (isOver()) return;
      this.#last = last || (this.#last ?? 0);
      if (this.#after === undefined) {
        this.#after = this.#last;
        this.#changed();
      }
      const seen = await step.look(this.#scene(guest, rows));
      if (!isOver()) this.#tell(seen);
    } catch (error) {
      // It may have been left meanwhile, with its guest.
      if (isOver()) return;
      this.#connection.report((error as Error).message);
      void this.close();
    } finally {
      this.#isBusy = false;
    }
  }

  #tell(seen: Seen | undefined): void {
    if (seen?.isDone) {
      this.seen[this.count++] = seen.text;
      if (!this.step) this.#finish(this.lesson!);
      this.#begin();
    } else if (this.soFar !== (seen?.text ?? '')) {
      this.soFar = seen?.text ?? '';
      this.#changed();
    }
  }

  #finish({ id }: Lesson): void {
    this.#finished.add(id);
    try {
      localStorage.setItem(KEPT_AS, JSON.stringify([...this.#finished]));
    } catch {
      // Pages that may keep nothing begin anew each time.
    }
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}

function load(): Set<string> {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEPT_AS) ?? '[]');
    return new Set(Array.isArray(kept) ? kept.map(String) : []);
  } catch {
    return new Set();
  }
}
