import { ACLS } from './acls.ts';
import { DATA } from './data.ts';
import { LOCKS } from './locks.ts';
import { METADATA } from './metadata.ts';
import { NAMES } from './names.ts';
import { PERMISSIONS } from './permissions.ts';
import { RENAME } from './rename.ts';
import { SAMPLES } from './samples.ts';
import { XATTRS } from './xattrs.ts';

export interface Step {
  /** The words of the call: `{x*3}` is written out, `%XX` are bytes still. */
  text: string;
  expected: string;
}

export interface Scenario {
  subject: string;
  name: string;
  steps: Step[];
  /** Features that it is about, beside those that its steps show. */
  needs: string[];
  /** The guest's kernel alone answers some of it. */
  kernel: boolean;
  /** Why it can't be seen in the guest. */
  guest: string | undefined;
  /** Why tmpfs does otherwise. */
  tmpfs: string | undefined;
}

/** All of them; README.md says how they are written. */
export const SCENARIOS: readonly Scenario[] = Object.entries({
  names: NAMES,
  rename: RENAME,
  metadata: METADATA,
  permissions: PERMISSIONS,
  data: DATA,
  xattrs: XATTRS,
  acls: ACLS,
  locks: LOCKS,
}).flatMap(([subject, text]) => parseAll(subject, text));

/** What is enough to see that a feature is there, by its name. */
export const FEATURE_SAMPLES: readonly Scenario[] = parseAll('what is not declared', SAMPLES);

function parseAll(subject: string, text: string): Scenario[] {
  return text
    .split(/^## /m)
    .slice(1)
    .map((part) => parse(subject, part));
}

function parse(subject: string, text: string): Scenario {
  const [heading, ...lines] = text
    .trim()
    .split('\n')
    .filter((line) => line !== '') as [string, ...string[]];
  return {
    subject,
    name: heading.replace(/ \[.*/, ''),
    needs: /\[needs: (.*?)\]/.exec(heading)?.[1]?.split(' ') ?? [],
    kernel: heading.includes('[kernel]'),
    guest: /\[guest: (.*?)\]/.exec(heading)?.[1],
    tmpfs: /\[tmpfs: (.*?)\]/.exec(heading)?.[1],
    steps: lines.map((line) => {
      const [step, expected = 'ok'] = line.split(' -> ') as [string, string?];
      return { text: writeOut(step), expected: writeOut(expected) };
    }),
  };
}

function writeOut(text: string): string {
  return text.trim().replace(/\{(.*?)\*(\d+)\}/g, (_, part: string, times: string) => part.repeat(Number(times)));
}

/** Whether a step came out as it should; of a `stat` the fields that are named count, and one of several errors will do. */
export function agrees(expected: string, actual: string): boolean {
  if (/^E[A-Z]+\|/.test(expected)) return expected.split('|').includes(actual);
  if (!/^[a-z]+=/.test(expected))
    return expected === actual || (expected === 'ok' && /^(\[.*\]|".*"|type=.*)$/s.test(actual));
  const fields = new Set(actual.split(' '));
  return expected.split(' ').every((field) => fields.has(field));
}
