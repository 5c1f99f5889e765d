import type { Connection, GuestView } from '../../embed/connection.ts';
import type { GuestId } from '../../protocol.ts';
import { Bench } from './bench.ts';
import { clearUp } from './clear-up.ts';
import { type Lesson, type Question, type Show, type Step, solutionOf } from './course-format.ts';
import type { Facts } from './expression.ts';
import { factsFor, factsOfResult, type Prediction, rightOf, scoreOf } from './facts.ts';
import { type Course, loadCourse } from './load.ts';
import { perform } from './perform.ts';
import { Progress } from './progress.ts';
import { RequestWatch } from './request-watch.ts';

/** Milliseconds. */
const INTERVAL = 250;

const runs = new WeakMap<Connection, LessonRun>();

/**
 * The course of one page: which lesson is under way, how far it is, and what the page sees of it. Goes on while other panels are shown. What a
 * lesson makes goes when it is left, and a lesson that was left begins from its first step.
 */
export class LessonRun extends EventTarget {
  readonly #connection: Connection;
  readonly progress = new Progress();
  /** Undefined until it is loaded. */
  course: Course | undefined;
  #loading: Promise<void> | undefined;
  lesson: Lesson | undefined;
  /** Steps done. */
  count = 0;
  /** What was seen of each step that was done. */
  seen: string[] = [];
  /** By step. */
  predictions: Prediction[] = [];
  /** What is seen of the step under way; it is not done. */
  soFar = '';
  /** The step that a link leads to. */
  wanted = 0;
  #hasPaused = false;
  #bench: Bench | undefined;
  /** What the visitor points at in the text, and so in the inspector. */
  #pointed: string | undefined;
  #guest: GuestView | undefined;
  #wasHeld = false;
  #path = '';
  #notes = new Map<string, unknown>();
  /** Programs that the lesson needs, and the guest does not have. */
  lacks: readonly string[] = [];
  /** Guests that there were before the lesson. */
  #others = new Set<GuestId>();
  #opened = new Set<GuestId>();
  #taken = new Set<string>();
  #began = 0;
  #hasStarted = false;
  readonly #watch = new RequestWatch();
  #timer: ReturnType<typeof setInterval> | undefined;
  #isBusy = false;
  /** Counts what was opened and left: what began before, and ends later, is of a lesson that is over, even if the same one was opened again. */
  #visit = 0;
  /** Lessons begin, do things and end one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(connection: Connection) {
    super();
    this.#connection = connection;
  }

  static of(connection: Connection): LessonRun {
    if (!runs.has(connection)) runs.set(connection, new LessonRun(connection));
    return runs.get(connection)!;
  }

  /** Loads the course at an address, '' for the page's own; once. */
  load(address: string): Promise<void> {
    return (this.#loading ??= this.#load(address));
  }

  async #load(address: string): Promise<void> {
    this.course = await loadCourse(address).catch((error: Error) => {
      this.#connection.report(`The course can’t be shown. ${error.message}`);
      return loadCourse('');
    });
    this.#changed();
  }

  /** Undefined when all are done. */
  get step(): Step | undefined {
    return this.lesson?.steps[this.count];
  }

  /** The step's command, as it is to be typed. */
  get command(): string | undefined {
    return this.#filled(this.step?.command?.text);
  }

  /** What "Do it for me" types. */
  get answer(): string | undefined {
    return this.#filled(this.step?.answer) ?? this.command;
  }

  #filled(command: string | undefined): string | undefined {
    return this.#guest && command?.replaceAll('{dir}', this.#guest.mountPoint + this.#path);
  }

  /** The guest that the step is done in. */
  get place(): GuestView | undefined {
    return this.step?.command?.where === 'second' ? this.#second : this.#guest;
  }

  get #second(): GuestView | undefined {
    return this.#connection.guests.find(
      (other) => other !== this.#guest && (other.folder === this.#guest?.folder || !this.#others.has(other.id)),
    );
  }

  /** The step that the page shows: when all are done, the last one is still to be looked at. */
  get #shown(): Step | undefined {
    return this.step ?? this.lesson?.steps.at(-1);
  }

  /** The guest whose requests the step under way is about. */
  get #subject(): GuestView | undefined {
    return this.step?.check?.isOfSecond ? this.#second : this.#guest;
  }

  /** The part of the page that the step is about: while a request waits, what the driver has written. */
  get show(): Show | undefined {
    const show = this.#shown?.show;
    return this.isWaiting && show?.view !== 'queues' ? { view: 'step', marks: show?.marks ?? [] } : show;
  }

  /** What is marked there. */
  get marks(): readonly string[] {
    return this.#pointed === undefined ? (this.show?.marks ?? []) : [this.#pointed];
  }

  /** The text speaks of this, or of nothing in particular again. */
  point(mark: string | undefined): void {
    if (mark === this.#pointed) return;
    this.#pointed = mark;
    this.#changed();
  }

  /** Of the lesson under way: where its program is written. */
  get bench(): Bench {
    return (this.#bench ??= new Bench(this.course!.address, this.lesson!, () => this.#onBench()));
  }

  /** The visitor's own device, or that of the guest which a step is about, whatever guest was used last. */
  get device(): GuestView | undefined {
    if (this.isWaiting) return this.#guest;
    const step = this.#shown;
    if (step?.check?.isOfSecond) return this.#second;
    return step?.exercise ? this.#bench?.device : undefined;
  }

  /** The lesson's program, as it may be in the end. */
  get solution(): string {
    return this.lesson ? solutionOf(this.lesson, this.step) : '';
  }

  #onBench(): void {
    const exercise = this.step?.exercise;
    const isDone = exercise && this.isLooking && this.bench.judge(exercise);
    const question = this.step?.question;
    if (isDone && question) this.#foretold(question, factsOfResult(this.bench.result!));
    if (isDone) this.#advance(exercise.goals.map(({ text }) => text).join('. '));
    else this.#changed();
  }

  get prediction(): Prediction | undefined {
    return this.predictions[this.count];
  }

  predict(chosen: number | undefined): void {
    const { step } = this;
    if (!step?.question) return;
    const isAsked = step.check || step.exercise;
    this.predictions[this.count] = { chosen, right: isAsked ? undefined : rightOf(step.question, {}) };
    this.#changed();
  }

  /** The step is done: what the device has answered to its question. */
  #foretold(question: Question, facts: Facts): void {
    this.predictions[this.count] = { chosen: this.prediction?.chosen, right: rightOf(question, facts) };
  }

  /** Begins a lesson, after the one under way has ended. `wanted`: the step that a link leads to. */
  open(lesson: Lesson, guest: GuestView, wanted = 0): Promise<void> {
    const visit = this.#leave();
    this.lesson = lesson;
    this.wanted = Math.min(wanted, lesson.steps.length - 1);
    this.count = 0;
    this.#hasPaused = false;
    this.seen = [];
    this.predictions = [];
    this.#pointed = undefined;
    this.#notes = new Map();
    this.#watch.end();
    this.lacks = [];
    this.#changed();
    return this.#inTurn(async () => {
      if (visit !== this.#visit) return;
      this.lacks = lesson.needs.length ? await guest.api.lesson.lacks([...lesson.needs]) : [];
      if (this.lacks.length) return this.#changed();
      if (visit !== this.#visit) return;
      const path = await guest.api.lesson.begin(`lesson-${lesson.id}`, lesson.files, lesson.others);
      await this.#connection.lessonShell(guest);
      this.#guest = guest;
      this.#others = new Set(this.#connection.guests.map(({ id }) => id));
      this.#wasHeld = guest.isHeld;
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

  /** The guest is gone, and what a lesson has made with it. */
  end(): void {
    this.#halt();
    this.#visit++;
  }

  #halt(): void {
    clearInterval(this.#timer);
    this.#bench?.close();
    this.#bench = undefined;
  }

  /** Clears up, when what is under way is done. Returns the number of what comes next. */
  #leave(): number {
    this.#halt();
    const { lesson } = this;
    if (lesson) void this.#inTurn(() => this.#clear(lesson));
    return ++this.#visit;
  }

  async #clear(lesson: Lesson): Promise<void> {
    const guest = this.#guest;
    this.#guest = undefined;
    const left = { others: this.#others, opened: this.#opened, taken: this.#taken, wasHeld: this.#wasHeld };
    this.#opened = new Set();
    this.#taken = new Set();
    if (guest) await clearUp(this.#connection, guest, lesson, left);
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
    this.#hasStarted = false;
    this.#watch.begin(this.#subject);
    clearInterval(this.#timer);
    if (this.step) this.#timer = setInterval(() => void this.#look(), INTERVAL);
    if (this.step?.exercise) this.bench.begin(this.step.exercise);
    this.#changed();
  }

  /** What happens from now on will be noticed: what is there before it has been noted. */
  get isLooking(): boolean {
    return this.#watch.isReady && (this.#hasStarted || !this.step?.check);
  }

  /** The visitor has read the step under way, where there is nothing to see. */
  goOn(): void {
    if (this.step && !this.step.check && !this.step.exercise && this.isLooking) this.#advance('');
  }

  /** Does the step under way for the visitor, where it is nothing to type. */
  act(): Promise<void> {
    const visit = this.#visit;
    return this.#inTurn(async () => {
      for (const act of this.step?.acts ?? [])
        if (visit === this.#visit && this.#guest)
          await perform(act, {
            connection: this.#connection,
            guest: this.#guest,
            notes: this.#notes,
            path: this.#path,
            opened: this.#opened,
            taken: this.#taken,
          });
    });
  }

  async #look(): Promise<void> {
    const { step } = this;
    const guest = this.#guest;
    const subject = this.#subject;
    if (!step || !guest || this.#isBusy) return;
    if (!this.#connection.guests.includes(guest)) return this.close();
    if (!subject) return;
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
      const wasReady = this.#watch.isReady;
      const rows = await this.#watch.look(subject, () => isOver() || subject !== this.#subject);
      if (!rows) return;
      if (!wasReady) this.#changed();
      const facts = await factsFor([step.check, step.question], {
        connection: this.#connection,
        guest: subject,
        second: this.#second,
        requests: rows,
        began: this.#began,
        notes: this.#notes,
        path: this.#path,
        predicted: this.prediction !== undefined,
      });
      if (!isOver() && step === this.step) this.#judge(step, facts);
    } catch (error) {
      // It may have been left meanwhile, with its guest; or the second one was closed.
      if (isOver() || !this.#connection.guests.includes(subject)) return;
      this.#connection.report((error as Error).message);
      void this.close();
    } finally {
      this.#isBusy = false;
    }
  }

  #judge({ check, question }: Step, found: Facts): void {
    if (!check) return;
    let facts: Facts = { ...found, notes: Object.fromEntries(this.#notes) };
    const note = (expressions: typeof check.keep) => {
      for (const [name, expression] of expressions) this.#notes.set(name, expression.evaluate(facts) ?? null);
      facts = { ...facts, notes: Object.fromEntries(this.#notes) };
    };
    if (!this.#hasStarted) {
      note(check.start);
      this.#hasStarted = true;
      this.#changed();
    }
    for (const [name, expression] of check.lets) facts = { [name]: expression.evaluate(facts), ...facts };
    if (check.done.evaluate(facts) === true) {
      note(check.keep);
      if (question) this.#foretold(question, facts);
      this.#advance(check.seen.fill(facts));
      return;
    }
    const soFar = check.soFar?.fill(facts) ?? '';
    if (this.soFar === soFar) return;
    this.soFar = soFar;
    this.#changed();
  }

  /** "Do it for me" has paused the device, so that what the driver has written for the step can be looked at. */
  get isWaiting(): boolean {
    return this.#hasPaused && this.#guest?.isHeld === true;
  }

  /** Pauses the device for what "Do it for me" is going to type; or lets it run again. */
  async pause(isPaused: boolean): Promise<void> {
    const guest = this.#guest;
    if (!guest || guest.isHeld === isPaused) return;
    this.#hasPaused = isPaused;
    await this.#connection.hold(guest, isPaused);
    this.#changed();
  }

  #advance(seen: string): void {
    if (this.isWaiting) void this.#connection.attempt(this.pause(false));
    this.#hasPaused = false;
    this.seen[this.count++] = seen;
    this.#pointed = undefined;
    const { lesson } = this;
    if (!this.step) this.progress.add(this.course!.address, lesson!.id, scoreOf(lesson!, this.predictions));
    this.#begin();
  }

  /** Settles when something of it is another. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.addEventListener('change', () => resolve(), { once: true }));
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}
