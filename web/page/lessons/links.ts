/** Which course, lesson and step a page's address asks for. */
export interface Place {
  /** An absolute address; '' for the page's own course. */
  course: string;
  /** Its id; undefined for the list. */
  lesson: string | undefined;
  /** Counted from 0. */
  step: number;
}

/** A course that a link names may be on the page's own server, and on those of `origins`: whoever makes a link is not whoever has the page. */
export function isAllowed(course: string, origins: readonly string[]): boolean {
  if (!URL.canParse(course)) return false;
  const { origin, protocol } = new URL(course);
  return /^https?:$/.test(protocol) && [new URL(document.baseURI).origin, ...origins].includes(origin);
}

export function placeOfPage(): Place | undefined {
  const course = new URLSearchParams(location.search).get('course');
  const fragment = new URLSearchParams(location.hash.slice(1));
  const lesson = fragment.get('lesson') ?? undefined;
  if (!course && lesson === undefined) return undefined;
  const step = Number(fragment.get('step') ?? 1) - 1;
  return {
    course: course ? addressOf(course) : '',
    lesson,
    step: Number.isInteger(step) && step > 0 ? step : 0,
  };
}

/** What an address may be relative to is the page. One that can't be understood is what it is, and is refused when it is fetched. */
export function addressOf(course: string): string {
  return URL.canParse(course, document.baseURI) ? new URL(course, document.baseURI).href : course;
}

/** The page, as one that opens this step. */
export function linkToStep(lesson: string, step: number): string {
  return new URL(`#lesson=${lesson}&step=${step + 1}`, location.href).href;
}
