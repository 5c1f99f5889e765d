import { OWN_TERMS } from './inspector/own-terms.ts';
import { BUILT_IN } from './lessons/built-in.ts';
import { parseGlossary, type Term } from './lessons/course-format.ts';

/** The page's own glossary, whichever course is open: the built-in course's entries, and the inspector's. */
export function pageGlossary(): readonly Term[] {
  const terms = [
    ...parseGlossary(BUILT_IN['glossary.md']!, 'glossary.md'),
    ...parseGlossary(OWN_TERMS, 'the inspector’s glossary'),
  ];
  return terms.sort((a, b) => a.title.localeCompare(b.title));
}
