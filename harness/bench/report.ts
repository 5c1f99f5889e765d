/** One measured quantity: rates are better when larger, times when smaller. */
export interface Measure {
  name: string;
  unit: string;
  isRate: boolean;
}

export interface BenchRow extends Measure {
  /** Every round's value, by filesystem. */
  values: Record<string, number[]>;
  medians: Record<string, number>;
  /** How many times better the first filesystem is than each other one; below 1 it is behind. */
  ratios: Record<string, number>;
}

export interface Table {
  title: string;
  /** The first is compared with the others. */
  subjects: string[];
  rows: BenchRow[];
}

/** A figure that was to be reached. */
export interface Target {
  name: string;
  unit: string;
  value: number;
  goal: number;
  /** The goal is the least it may be, not the most. */
  isLeast: boolean;
  isReached: boolean;
}

/** What was not measured is not reached. */
export function target(name: string, unit: string, value: number, goal: number, isLeast = false): Target {
  return { name, unit, value, goal, isLeast, isReached: isLeast ? value >= goal : value <= goal };
}

/** A subject's median in the row of that name; NaN for what was not measured. */
export function medianOf(rows: readonly BenchRow[], { name }: Pick<Measure, 'name'>, subject: string): number {
  return rows.find((row) => row.name === name)?.medians[subject] ?? NaN;
}

/** Collects rounds; `subjects[0]` is the one that the others are compared with. */
export class Collector {
  readonly #subjects: readonly string[];
  readonly #rows = new Map<string, { measure: Measure; values: Record<string, number[]> }>();

  constructor(subjects: readonly string[]) {
    this.#subjects = subjects;
  }

  add(subject: string, measure: Measure, value: number): void {
    let row = this.#rows.get(measure.name);
    if (!row) this.#rows.set(measure.name, (row = { measure, values: {} }));
    (row.values[subject] ??= []).push(value);
  }

  rows(): BenchRow[] {
    const [first, ...others] = this.#subjects as [string, ...string[]];
    return [...this.#rows.values()].map(({ measure, values }) => {
      const medians = Object.fromEntries(Object.entries(values).map(([subject, list]) => [subject, median(list)]));
      const ratio = (other: string) =>
        measure.isRate ? medians[first]! / medians[other]! : medians[other]! / medians[first]!;
      const compared = others.filter((other) => other in medians && first in medians);
      return {
        ...measure,
        values,
        medians,
        ratios: Object.fromEntries(compared.map((other) => [other, ratio(other)])),
      };
    });
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A table's cells, its header first: medians, and how the first subject compares. */
export function cellsOf({ rows, subjects }: Pick<Table, 'rows' | 'subjects'>): string[][] {
  const [first, ...others] = subjects as [string, ...string[]];
  const header = ['', 'unit', ...subjects, ...others.map((other) => `${first} / ${other}`)];
  const body = rows.map(({ name, unit, medians, ratios }) => [
    name,
    unit,
    ...subjects.map((subject) => (subject in medians ? formatNumber(medians[subject]!) : '')),
    ...others.map((other) => (other in ratios ? `${formatNumber(ratios[other]!)}×` : '')),
  ]);
  return [header, ...body];
}

/** For people at a terminal. The first two columns are words, the others numbers. */
export function formatTable([header, ...body]: string[][]): string {
  if (!header) return '';
  const widths = header.map((_, column) => Math.max(...[header, ...body].map((line) => line[column]!.length)));
  const format = (line: string[]) =>
    line
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd();
  return [format(header), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(format)].join('\n');
}

/** The same for Markdown. */
export function markdownTable([header, ...body]: string[][]): string {
  if (!header) return '';
  const format = (line: string[]) => `| ${line.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [format(header), format(header.map((_, column) => (column < 2 ? '---' : '---:'))), ...body.map(format)].join(
    '\n',
  );
}

/** A Markdown text with `section` between comments of that name: in place of what was there, or at the end. */
export function withSection(text: string, name: string, section: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const whole = `${begin}\n\n${section}\n\n${end}`;
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) return `${text && `${text.trimEnd()}\n\n`}${whole}\n`;
  return text.slice(0, from) + whole + text.slice(to + end.length);
}

export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
