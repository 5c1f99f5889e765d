/** What is known of one lesson that was done. */
export interface LessonResult {
  /** Predictions that were right, and those that were asked for. */
  right: number;
  asked: number;
}

const KEPT_AS = 'virtiofs-vm.course';
/** Where earlier versions kept the built-in lessons that were done. */
const KEPT_BEFORE = 'virtiofs-vm.lessons done';
const FORMAT = 'v86-virtiofs course progress';
/** What a file may bring. */
const MAX_COURSES = 100;
const MAX_LESSONS = 200;
const MAX_NAME = 500;
const MAX_FILE = 1_000_000;

type Results = Map<string, Map<string, LessonResult>>;

/** Lessons that were done, of all courses, by the courses' addresses ('' for the page's own). It is kept where the page may keep something. */
export class Progress {
  #results: Results = load() ?? new Map();

  of(course: string, lesson: string): LessonResult | undefined {
    return this.#results.get(course)?.get(lesson);
  }

  add(course: string, lesson: string, result: LessonResult): void {
    this.#change(() => this.#set(course, lesson, result));
  }

  #set(course: string, lesson: string, result: LessonResult): void {
    const lessons = this.#results.get(course) ?? new Map<string, LessonResult>();
    lessons.set(lesson, result);
    this.#results.set(course, lessons);
  }

  export(): Blob {
    return new Blob([JSON.stringify({ format: FORMAT, courses: plain(this.#results) }, undefined, 2)], {
      type: 'application/json',
    });
  }

  /** Adds what a file has. @throws Error that says what is wrong with it. */
  async import(file: Blob): Promise<void> {
    if (file.size > MAX_FILE) throw new Error('This file is too large for a course’s progress. Choose another one.');
    let courses: unknown;
    try {
      const { format, courses: found } = JSON.parse(await file.text()) as { format?: unknown; courses?: unknown };
      if (format === FORMAT) courses = found;
    } catch {
      // As of another kind.
    }
    if (courses === undefined)
      throw new Error('This file is not a course’s progress. Choose one that “Export progress” has made.');
    this.#change(() => {
      for (const [course, lessons] of resultsIn(courses))
        for (const [lesson, result] of lessons) {
          const known = this.of(course, lesson);
          if (!known || known.right < result.right) this.#set(course, lesson, result);
        }
    });
  }

  /** Other tabs may have added something since. */
  #change(change: () => void): void {
    this.#results = load() ?? this.#results;
    change();
    try {
      localStorage.setItem(KEPT_AS, JSON.stringify(plain(this.#results)));
    } catch {
      // Pages that may keep nothing begin anew each time.
    }
  }
}

function plain(results: Results): object {
  return Object.fromEntries([...results].map(([course, lessons]) => [course, Object.fromEntries(lessons)]));
}

/** Undefined where nothing can be kept, or what is kept makes no sense. */
function load(): Results | undefined {
  try {
    const kept = localStorage.getItem(KEPT_AS);
    if (kept !== null) return resultsIn(JSON.parse(kept));
    const before: unknown = JSON.parse(localStorage.getItem(KEPT_BEFORE) ?? '[]');
    if (!Array.isArray(before)) return undefined;
    return new Map([['', new Map(before.map((id) => [String(id), { right: 0, asked: 0 }]))]]);
  } catch {
    return undefined;
  }
}

/** As far as it is what {@link plain} makes: files, and what a browser keeps, may be anything. */
function resultsIn(value: unknown): Results {
  const results: Results = new Map();
  for (const [course, lessons] of entriesOf(value, MAX_COURSES)) {
    const own = new Map<string, LessonResult>();
    for (const [lesson, result] of entriesOf(lessons, MAX_LESSONS)) {
      const [right, asked] = ['right', 'asked'].map((name) =>
        Number((result as Record<string, unknown> | null)?.[name]),
      );
      if (Number.isInteger(right) && Number.isInteger(asked)) own.set(lesson, { right: right!, asked: asked! });
    }
    if (own.size) results.set(course, own);
  }
  return results;
}

function entriesOf(value: unknown, limit: number): [string, unknown][] {
  return typeof value === 'object' && value !== null
    ? Object.entries(value)
        .slice(0, limit)
        .filter(([name]) => name.length <= MAX_NAME)
    : [];
}
