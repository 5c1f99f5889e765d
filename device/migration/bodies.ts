import { MigrationError } from './channel.ts';
import { type Fate, isMigrationId } from './fates.ts';
import type { Description } from './incoming.ts';

/** Bytes of a JSON body. */
const MAX_JSON = 64 << 10;
/** Characters that are kept of why the other side refuses. */
const MAX_REASON = 1000;
/** Of a description: fields, and what is in a list. */
const MAX_FIELDS = 100;

/** What the other side has sent as JSON, of which nothing is believed before it was asked for. */
class Body {
  readonly #what: string;
  readonly #value: object;

  constructor(what: string, value: unknown) {
    this.#what = what;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#wrong('all of it');
    this.#value = value;
  }

  /** @throws MigrationError also for what is no JSON. */
  static parse(what: string, bytes: Uint8Array): Body {
    if (bytes.length > MAX_JSON)
      throw new MigrationError(`the other side's ${what} has ${bytes.length} bytes: ${MAX_JSON} are allowed`);
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch (error) {
      throw new MigrationError(`the other side's ${what} is damaged: ${printable((error as Error).message, 100)}`, {
        cause: error,
      });
    }
    return new Body(what, value);
  }

  #wrong(name: string): MigrationError {
    return new MigrationError(`the other side's ${this.#what} has an invalid field: ${name}`);
  }

  /** @throws MigrationError when `is` says so. */
  field<T>(name: string, is: (value: unknown) => value is T): T {
    const value = Object.hasOwn(this.#value, name) ? (this.#value as Record<string, unknown>)[name] : undefined;
    if (!is(value)) throw this.#wrong(name);
    return value;
  }

  entries<T>(is: (value: unknown) => value is T): Record<string, T> {
    const entries = Object.entries(this.#value);
    if (entries.length > MAX_FIELDS) throw this.#wrong(`${entries.length} fields`);
    for (const [name, value] of entries) if (!is(value)) throw this.#wrong(printable(name, 40));
    return Object.fromEntries(entries);
  }
}

const isBoolean = (value: unknown) => typeof value === 'boolean';
const isLength = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isText = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => Number.isFinite(value);
/** Of a snapshot. */
const isName = (value: unknown): value is string => isText(value) && /^[\w-]{1,100}$/.test(value);
const isFate = (value: unknown): value is Fate | 'unknown' =>
  value === 'started' || value === 'never' || value === 'unknown';
const isLayerName = (value: unknown): value is string => isText(value) && /^[\w-]{1,100}\.layer$/.test(value);
const isTextList = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length <= MAX_FIELDS && value.every(isText);
const isMachineField = (value: unknown): value is string | number | string[] =>
  isText(value) || isNumber(value) || isTextList(value);

export function decodeDescription(bytes: Uint8Array): Description {
  const body = Body.parse('description of the machine', bytes);
  const machine = body.field('machine', (value): value is object => typeof value === 'object');
  return {
    id: body.field('id', isMigrationId),
    machine: new Body('description of the machine', machine).entries(isMachineField),
  };
}

export function decodeLayer(bytes: Uint8Array): { name: string; length: number } {
  const body = Body.parse('layer', bytes);
  return { name: body.field('name', isLayerName), length: body.field('length', isLength) };
}

export function decodeRound(bytes: Uint8Array): { snapshot: string; isLast: boolean } {
  const body = Body.parse('round', bytes);
  return { snapshot: body.field('snapshot', isName), isLast: body.field('isLast', isBoolean) };
}

/** The id of a migration. */
export function decodeQuery(bytes: Uint8Array): string {
  return Body.parse('question', bytes).field('id', isMigrationId);
}

export function decodeFate(bytes: Uint8Array): Fate | 'unknown' {
  return Body.parse('answer', bytes).field('fate', isFate);
}

/** Why the other side refuses, for a person to read. */
export function decodeRefusal(bytes: Uint8Array): string {
  return printable(Body.parse('refusal', bytes).field('reason', isText), MAX_REASON);
}

export function encodeRefusal(reason: string): { reason: string } {
  return { reason: printable(reason, MAX_REASON) };
}

/** Text of the other side, so that it can't do anything to a terminal. */
function printable(text: string, length: number): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '\ufffd');
  return plain.length <= length ? plain : `${plain.slice(0, length)}…`;
}
