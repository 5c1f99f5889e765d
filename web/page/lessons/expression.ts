import { Environment } from '@marcbachmann/cel-js';

/** What an expression may refer to, by name. Whole numbers are converted, as CEL has them apart from others. */
export type Facts = Readonly<Record<string, unknown>>;

/** A condition or a value, in the Common Expression Language. */
export interface Expression {
  readonly source: string;
  /** Undefined while something that it refers to is not there. */
  evaluate(facts: Facts): unknown;
}

/** A text with expressions between braces. */
export interface Template {
  readonly expressions: readonly Expression[];
  fill(facts: Facts): string;
}

/** Foreign expressions must not take long, nor make much of little: with these limits, ten thousands of steps. */
const LIMITS = { maxAstNodes: 300, maxDepth: 60, maxListElements: 40, maxMapEntries: 10, maxCallArguments: 6 };
const MAX_SOURCE = 2000;
const LOOPS = new Set(['all', 'exists', 'exists_one', 'filter', 'map']);
const MAX_LOOPS = 5;
const MAX_NESTED = 2;
/** Regular expressions that others write may take for ever; what is bound can be doubled again and again. */
const FORBIDDEN = new Set(['matches', 'bind']);
const MAX_TEXT = 2000;

interface Asked {
  opcode: string;
  about: string;
  isAnswered: boolean;
}

const environment = new Environment({
  unlistedVariablesAreDyn: true,
  homogeneousAggregateLiterals: false,
  enableOptionalTypes: true,
  limits: LIMITS,
})
  .registerFunction('opcodes(list): string', (rows: Asked[]) => opcodesOf(rows))
  .registerFunction('asked(list, string): list<dyn>', (rows: Asked[], opcode: string) => asked(rows, opcode))
  .registerFunction('asked(list, string, string): list<dyn>', asked)
  .registerFunction('saw(list, string): bool', (rows: Asked[], all: string) => saw(rows, all))
  .registerFunction('saw(list, string, string): bool', saw)
  .registerFunction('last(list): dyn', (list: unknown[]) => last(list))
  .registerFunction('round(dyn): int', (value: number | bigint) => BigInt(Math.round(Number(value))));

/** The answered requests of an opcode, about one file where `about` is given. */
function asked(rows: readonly Asked[], opcode: string, about = ''): Asked[] {
  return rows.filter((row) => row.opcode === opcode && row.isAnswered && row.about.includes(about));
}

/** Whether there was an answered request of each of these opcodes, with blanks between them. */
function saw(rows: readonly Asked[], all: string, about = ''): boolean {
  return all.split(' ').every((opcode) => asked(rows, opcode, about).length > 0);
}

function last(list: readonly unknown[]): unknown {
  if (!list.length) throw new Error('there is nothing yet');
  return list.at(-1);
}

/** Opcodes in their order, repeated ones counted. */
function opcodesOf(requests: readonly Asked[]): string {
  const runs: { opcode: string; count: number }[] = [];
  for (const { opcode } of requests) {
    const last = runs.at(-1);
    if (last?.opcode === opcode) last.count++;
    else runs.push({ opcode, count: 1 });
  }
  return runs.map(({ opcode, count }) => (count > 1 ? `${opcode} ×${count}` : opcode)).join(', ');
}

/** @throws Error that says what is wrong with it. */
export function parseExpression(source: string): Expression {
  if (source.length > MAX_SOURCE) throw new Error(`an expression may have ${MAX_SOURCE} characters`);
  let run: (facts: Record<string, unknown>) => unknown;
  try {
    const parsed = environment.parse(source);
    const { loops, nested } = loopsIn(parsed.ast);
    if (loops > MAX_LOOPS || nested > MAX_NESTED)
      throw new Error(`it may go through lists ${MAX_LOOPS} times, and ${MAX_NESTED} deep`);
    run = parsed as typeof run;
  } catch (error) {
    throw new Error(`${JSON.stringify(source)}: ${(error as Error).message.split('\n')[0]}`);
  }
  return {
    source,
    evaluate(facts) {
      try {
        return run(facts as Record<string, unknown>);
      } catch {
        return undefined;
      }
    },
  };
}

/** How many loops a syntax tree has, and how many are inside of each other. */
function loopsIn(node: unknown): { loops: number; nested: number } {
  if (Array.isArray(node)) return together(node.map(loopsIn));
  if (typeof node !== 'object' || node === null || !('op' in node)) return { loops: 0, nested: 0 };
  const { op, args } = node as { op: string; args: unknown };
  if ((op !== 'rcall' && op !== 'call') || !Array.isArray(args)) return loopsIn(args);
  const [name, ...parts] = args as [string, ...unknown[]];
  if (FORBIDDEN.has(name)) throw new Error(`${name} may not be used in courses`);
  const inner = loopsIn(parts.at(-1));
  const outer = loopsIn(parts.slice(0, -1));
  const isLoop = Number(LOOPS.has(name));
  return {
    loops: inner.loops + outer.loops + isLoop,
    // What a loop goes through is made before it.
    nested: Math.max(outer.nested, inner.nested + isLoop),
  };
}

function together(parts: readonly { loops: number; nested: number }[]): { loops: number; nested: number } {
  return {
    loops: parts.reduce((sum, { loops }) => sum + loops, 0),
    nested: Math.max(0, ...parts.map(({ nested }) => nested)),
  };
}

/** @throws Error that says what is wrong with it. */
export function parseTemplate(source: string): Template {
  const parts = source.split(/\{([^{}]*)\}/).map((part, n) => (n % 2 ? parseExpression(part) : part));
  return {
    expressions: parts.filter((part) => typeof part !== 'string'),
    fill: (facts) =>
      parts
        .map((part) => (typeof part === 'string' ? part : shown(part.evaluate(facts))))
        .join('')
        .slice(0, MAX_TEXT),
  };
}

function shown(value: unknown): string {
  return value === undefined || value === null || typeof value === 'object' ? '' : String(value).slice(0, MAX_TEXT);
}

/** Facts as expressions take them: whole numbers as integers, and nothing where there is nothing. */
export function asFacts(value: unknown): unknown {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(asFacts);
  if (value instanceof Map) return asFacts(Object.fromEntries(value));
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([name, field]) => [name, asFacts(field)]),
  );
}
