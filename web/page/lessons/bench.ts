import type { GuestView } from '../../embed/connection.ts';
import type { BareResult } from '../../protocol/bare.ts';
import { BareWorker } from '../bare-worker.ts';
import type { Exercise, Lesson } from './course-format.ts';
import { factsOfResult } from './facts.ts';

/** Where the visitor's programs are kept, by course and lesson. */
const KEPT_AS = 'virtiofs-vm.program';
/** Characters of a program. */
const MAX_CODE = 50_000;

/** Where a lesson's program is written and run. It goes on from step to step. */
export class Bench {
  readonly #kept: string;
  readonly #first: string;
  readonly #onChange: () => void;
  #code: string;
  #worker: BareWorker | undefined;
  result: BareResult | undefined;
  /** Why there is no result. */
  failure = '';
  isRunning = false;
  /** Programs that have ended. */
  runs = 0;
  /** Indices of goals of the step under way. */
  reached: readonly number[] = [];

  constructor(course: string, lesson: Lesson, onChange: () => void) {
    this.#kept = `${KEPT_AS} ${course} ${lesson.id}`;
    this.#first = lesson.steps.map(({ exercise }) => exercise?.code).find(Boolean) ?? '';
    this.#onChange = onChange;
    this.#code = this.#load() ?? this.#first;
  }

  /** The device of the last run, for the inspector. */
  get device(): GuestView | undefined {
    return this.#worker?.view;
  }

  get code(): string {
    return this.#code;
  }

  set code(text: string) {
    this.#code = text.slice(0, MAX_CODE);
    try {
      localStorage.setItem(this.#kept, this.#code);
    } catch {
      // Pages that may keep nothing begin anew each time.
    }
  }

  #load(): string | undefined {
    try {
      return localStorage.getItem(this.#kept)?.slice(0, MAX_CODE);
    } catch {
      return undefined;
    }
  }

  reset(): void {
    this.code = this.#first;
    this.#onChange();
  }

  /** Of a step: its own program, or the one that there is, which may have reached some goals already. */
  begin(exercise: Exercise): void {
    if (exercise.isGiven) this.code = exercise.code;
    this.judge(exercise);
  }

  /** Runs the program on a new device. */
  async run(): Promise<void> {
    this.#worker?.stop('another one runs');
    const worker = new BareWorker();
    this.#worker = worker;
    this.result = undefined;
    this.failure = '';
    this.isRunning = true;
    this.#onChange();
    try {
      const result = await worker.run(this.#code);
      if (worker === this.#worker) this.result = result;
    } catch (error) {
      if (worker === this.#worker) this.failure = `The program has ended: ${(error as Error).message}.`;
    } finally {
      if (worker === this.#worker) {
        this.isRunning = false;
        this.runs++;
      }
      this.#onChange();
    }
  }

  /** Ends the program that runs. */
  stop(): void {
    this.#worker?.stop('you have stopped it');
    this.#worker = undefined;
    this.isRunning = false;
    this.failure = 'The program has ended: you have stopped it.';
    this.#onChange();
  }

  /** Looks which goals the last run has reached. Returns whether it was all of them. */
  judge({ goals }: Exercise): boolean {
    const { result } = this;
    this.reached = [];
    if (!result || this.isRunning) return false;
    const facts = factsOfResult(result);
    this.reached = goals.flatMap(({ done }, index) => (done.evaluate(facts) === true ? [index] : []));
    return this.reached.length === goals.length;
  }

  close(): void {
    this.#worker?.stop('the lesson is over');
    this.#worker = undefined;
  }
}
