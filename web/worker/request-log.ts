import type { FileSystem, Recorder, RequestRecord } from '../../device/index.ts';
import type { RequestPage, RequestQuery, RequestRow } from '../protocol/inspector.ts';
import { parseFilter, type RequestFilter } from '../protocol/request-filter.ts';
import { pathOf } from './paths.ts';

/** What tells most of a request's arguments. */
const TELLING = ['offset', 'size', 'mode', 'nlookup', 'count', 'fh'];
/** Rows that are given out at once: more than any screen shows. */
const MAX_ROWS = 500;

/**
 * What the page shows of a recorder: some rows of those that match a filter. Each request is compared with the filter once, so that looking
 * costs no more where thousands come between two looks.
 */
export class RequestLog {
  readonly #recorder: Recorder;
  readonly #filesystem: FileSystem;
  /** What requests are about, as their nodes were called when they were seen first. */
  readonly #abouts = new WeakMap<RequestRecord, string>();
  /** All records as they were when the page began to look back; undefined while it follows what comes. */
  #held: readonly RequestRecord[] | undefined;
  #text = '';
  #filter: RequestFilter = parseFilter('');
  /** Those that match, oldest first. */
  #matching: RequestRecord[] = [];
  /** Seen without an answer: what a filter says of them may change. */
  #unanswered: RequestRecord[] = [];
  /** The number of the newest one that was compared. */
  #compared = 0;

  constructor(recorder: Recorder, filesystem: FileSystem) {
    this.#recorder = recorder;
    this.#filesystem = filesystem;
  }

  get #records(): readonly RequestRecord[] {
    return this.#held ?? this.#recorder.records;
  }

  page({ version, filter, isLive, from, count }: RequestQuery): RequestPage | undefined {
    const { records, version: current, count: seen, limit } = this.#recorder;
    if (version === current) return undefined;
    if (isLive || !records.length) this.#held = undefined;
    else this.#held ??= [...records];
    const matching = this.#matchingOf(filter);
    const length = Math.min(count, MAX_ROWS);
    const last = Math.max(0, matching.length - length);
    const first = isLive ? last : Math.max(0, Math.min(from, last));
    return {
      version: current,
      seen,
      limit,
      total: this.#records.length,
      matching: matching.length,
      opcodes: [...this.#recorder.latencies.keys()].sort(),
      from: first,
      rows: matching.slice(first, first + length).map((record) => this.row(record)),
    };
  }

  /** Where a list goes from a request, by `by` of those that match; from its beginning or end without one. */
  seek(filter: string, number: number | undefined, by: number): { number: number; index: number } | undefined {
    const matching = this.#matchingOf(filter);
    const at = number === undefined ? (by < 0 ? matching.length : -1) : placeOf(matching, number);
    const index = Math.max(0, Math.min(at + by, matching.length - 1));
    const record = matching[index];
    return record && { number: record.number, index };
  }

  find(number: number): RequestRecord | undefined {
    const records = this.#records;
    return records[number - (records[0]?.number ?? 0)] ?? this.#recorder.records.find((each) => each.number === number);
  }

  row(record: RequestRecord): RequestRow {
    const { number, time, queue, opcode, nodeid, pid, error, written, duration } = record;
    return { number, time, queue, opcode, nodeid, pid, about: this.#aboutOf(record), error, written, duration };
  }

  #matchingOf(text: string): readonly RequestRecord[] {
    const records = this.#records;
    const first = records[0]?.number ?? Infinity;
    if (text !== this.#text) {
      this.#text = text;
      this.#filter = parseFilter(text);
      this.#restart();
    }
    if (!text.trim()) return records;
    // Looking back and following again is another list.
    if ((this.#matching.at(-1)?.number ?? 0) > (records.at(-1)?.number ?? 0)) this.#restart();
    const gone = this.#matching.findIndex(({ number }) => number >= first);
    if (gone !== 0) this.#matching.splice(0, gone < 0 ? Infinity : gone);
    this.#compareAgain(first);
    for (let n = Math.max(0, this.#compared + 1 - first); n < records.length; n++) {
      const record = records[n]!;
      this.#compared = record.number;
      if (this.#matches(record)) this.#matching.push(record);
      if (record.written === undefined) this.#unanswered.push(record);
    }
    return this.#matching;
  }

  #restart(): void {
    this.#matching = [];
    this.#unanswered = [];
    this.#compared = 0;
  }

  #compareAgain(first: number): void {
    this.#unanswered = this.#unanswered.filter(({ number }) => number >= first);
    for (const record of this.#unanswered) {
      if (record.written === undefined) continue;
      const place = placeOf(this.#matching, record.number);
      const isIn = this.#matching[place] === record;
      if (isIn === this.#matches(record)) continue;
      this.#matching.splice(place, isIn ? 1 : 0, ...(isIn ? [] : [record]));
    }
    this.#unanswered = this.#unanswered.filter(({ written }) => written === undefined);
  }

  #matches(record: RequestRecord): boolean {
    const { number, time, queue, opcode, nodeid, pid, error, written, duration } = record;
    const about = this.#filter.needsAbout ? this.#aboutOf(record) : '';
    return this.#filter.matches({ number, time, queue, opcode, nodeid, pid, about, error, written, duration });
  }

  #aboutOf(record: RequestRecord): string {
    const known = this.#abouts.get(record);
    if (known !== undefined) return known;
    const where = pathOf(this.#filesystem, record.nodeid) ?? (record.nodeid ? `node ${record.nodeid}` : '');
    const about = describe(record.args, where);
    this.#abouts.set(record, about);
    return about;
  }
}

/** The index of the first record from this number on. */
function placeOf(records: readonly RequestRecord[], number: number): number {
  let [low, high] = [0, records.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (records[middle]!.number < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Names first, else the file and the numbers that tell most. */
function describe({ names, ...args }: Record<string, unknown>, where: string): string {
  if (Array.isArray(names)) return `${names.map((name) => JSON.stringify(name)).join(', ')} in ${where}`;
  const told = TELLING.filter((key) => key in args && (key !== 'fh' || args[key] !== 0)).map(
    (key) => `${key} ${String(args[key])}`,
  );
  return [...(where ? [where] : []), ...told.slice(0, 2)].join(', ');
}
