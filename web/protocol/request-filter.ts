import type { RequestRow } from './inspector.ts';

type Test = (row: RequestRow) => boolean;

/**
 * A filter as a visitor writes it: terms between spaces, all of which have to be true. `op:READ,WRITE` (`op:READ*` for those that begin so), `file:NAME`,
 * `pid:N`, `node:N`, `queue:N`, `error`, `error:ENOENT`, `waits`; anything else is looked for in all that a row shows. A minus before a term
 * turns it round, and quotes keep spaces together.
 */
export interface RequestFilter {
  matches: Test;
  /** It tells requests apart by their names: those have to be put together. */
  needsAbout: boolean;
}

/** A term, with quotes. */
const TERM = /(?:"[^"]*"?|[^\s"])+/g;

function termsOf(text: string): string[] {
  return text.match(TERM) ?? [];
}

export function parseFilter(text: string): RequestFilter {
  const terms = termsOf(text).map(parseTerm);
  return {
    matches: (row) => terms.every(({ test }) => test(row)),
    needsAbout: terms.some(({ needsAbout }) => needsAbout),
  };
}

function parseTerm(term: string): { test: Test; needsAbout: boolean } {
  const isTurned = term.startsWith('-') && term.length > 1;
  const plain = isTurned ? term.slice(1) : term;
  const [, key = '', quoted] = /^(?:(\w+):)?(.*)$/s.exec(plain)!;
  const value = quoted!.replaceAll('"', '');
  const test = (value ? testOf(key.toLowerCase(), value) : undefined) ?? (key ? undefined : wordTest(value));
  const { test: is, needsAbout = false } = test ?? contains(plain.replaceAll('"', ''));
  return { test: isTurned ? (row) => !is(row) : is, needsAbout };
}

function testOf(key: string, value: string): { test: Test; needsAbout?: boolean } | undefined {
  const values = value.split(',').filter(Boolean);
  const oneOf = (of: (row: RequestRow) => number) => ({ test: (row: RequestRow) => values.includes(String(of(row))) });
  switch (key) {
    case 'op': {
      const names = values.map((name) => name.toUpperCase().replace(/^FUSE_/, ''));
      return {
        test: ({ opcode }) =>
          names.some((name) => (name.endsWith('*') ? opcode.startsWith(name.slice(0, -1)) : opcode === name)),
      };
    }
    case 'file': {
      const wanted = value.toLowerCase();
      return { test: ({ about }) => about.toLowerCase().includes(wanted), needsAbout: true };
    }
    case 'error': {
      const names = values.map((name) => name.toUpperCase());
      return { test: ({ error }) => names.includes(error) };
    }
    case 'pid':
      return oneOf(({ pid }) => pid);
    case 'node':
      return oneOf(({ nodeid }) => nodeid);
    case 'queue':
      return oneOf(({ queue }) => queue);
    default:
      return undefined;
  }
}

function wordTest(word: string): { test: Test; needsAbout?: boolean } | undefined {
  if (word === 'error') return { test: ({ error }) => error !== '' };
  if (word === 'waits') return { test: ({ written }) => written === undefined };
  return undefined;
}

function contains(text: string): { test: Test; needsAbout: boolean } {
  const wanted = text.toLowerCase();
  return {
    test: ({ opcode, about, error, pid, nodeid }) =>
      `${opcode} ${about} ${error} pid ${pid} node ${nodeid}`.toLowerCase().includes(wanted),
    needsAbout: true,
  };
}

/** The same filter, and a term. */
export function withTerm(text: string, term: string): string {
  return text.trim() ? `${text.trim()} ${term}` : term;
}

/** Without the terms that `isIt` says. */
export function withoutTerms(text: string, isIt: (term: string) => boolean): string {
  return termsOf(text)
    .filter((term) => !isIt(term))
    .join(' ');
}

export function hasTerm(text: string, term: string): boolean {
  return termsOf(text).includes(term);
}

/** The one opcode that a filter asks for; '' for none or several. */
export function opcodeIn(text: string): string {
  const found = termsOf(text).filter((term) => /^op:/i.test(term));
  return found.length === 1 && /^op:[\w]+$/i.test(found[0]!) ? found[0]!.slice(3).toUpperCase() : '';
}
