import { BUILT_IN } from './built-in.ts';
import {
  CourseError,
  type Lesson,
  MAX_FILE,
  type Prose,
  parseGlossary,
  parseIndex,
  parseLesson,
  type Term,
} from './course-format.ts';

/** A course, whole. */
export interface Course {
  /** Its address; '' of the page's own. */
  address: string;
  title: string;
  prose: Prose;
  lessons: readonly Lesson[];
  glossary: readonly Term[];
}

const INDEX = 'course.md';
/** Milliseconds. */
const PATIENCE = 20_000;

/** The page's own course, or the one at an address. @throws Error that says what is wrong, and what to do. */
export async function loadCourse(address: string): Promise<Course> {
  return address ? assemble(address, fetchText) : assemble('', async (name) => ownText(name));
}

function ownText(name: string): string {
  const text = BUILT_IN[name];
  if (text === undefined) throw new CourseError(`the page has no ${name}`);
  return text;
}

/** `read`: the text at an address. */
async function assemble(address: string, read: (address: string) => Promise<string>): Promise<Course> {
  const place = address || INDEX;
  const text = await read(place);
  const { title, prose, lessons: links, glossary } = parseIndex(text, place);
  const near = (link: string) => (address ? besides(link, address) : link);
  const [lessons, terms] = await Promise.all([
    links.length
      ? Promise.all(links.map(async (link) => parseLesson(await read(near(link)), near(link))))
      : [parseLesson(text, place)],
    glossary ? read(near(glossary)).then((found) => parseGlossary(found, near(glossary))) : [],
  ]);
  const twice = lessons.find(({ id }, n) => lessons.findIndex((other) => other.id === id) !== n);
  if (twice) throw new CourseError(`${place}: two lessons have the id ${twice.id}`);
  return { address, title, prose: links.length ? prose : [], lessons, glossary: terms };
}

/** A file of a course is from where the course is from. */
function besides(link: string, address: string): string {
  const { href, origin } = new URL(link, address);
  if (origin !== new URL(address).origin)
    throw new CourseError(`${address} refers to ${href}; the files of a course have to be on one server`);
  return href;
}

async function fetchText(address: string): Promise<string> {
  const { protocol, origin } = new URL(address);
  if (!/^https?:$/.test(protocol)) throw new CourseError(`${address} is not an address of http or https`);
  let response: Response;
  try {
    response = await fetch(address, {
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new CourseError(
      `${address} could not be fetched. It has to be there, its server has to allow other sites to read it (CORS), and this page’s policy has to allow ${origin}.`,
    );
  }
  if (new URL(response.url).origin !== origin)
    throw new CourseError(`${address} leads to ${response.url}; the files of a course have to be on one server`);
  if (!response.ok) throw new CourseError(`${address} could not be fetched: the server says ${response.status}.`);
  const reader = response.body!.getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > 4 * MAX_FILE) {
      await reader.cancel();
      throw new CourseError(`${address} is too large: a file of a course may have ${MAX_FILE} characters.`);
    }
    parts.push(value);
  }
  return new Blob(parts).text();
}
