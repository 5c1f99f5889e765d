import { MAX_STRANGER_MESSAGE } from '../../device/index.ts';
import { randomNumbers } from './hostile-driver.ts';

export type Random = (below: number) => number;

/** How often what a reader was sent came to what: `accepted`, or the name of an error. */
export type Outcomes = Map<string, number>;

export const NUMBERS = [0, 1, 4, 255, 256, 8192, 65535, 65536, 2 ** 20, 2 ** 31, 2 ** 32 - 1];

export const ENCODER = new TextEncoder();

export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

export const word = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);

export const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

export function count(outcomes: Outcomes, key: string): void {
  outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
}

const POOL_SIZE = 1 << 16;

const pool = Uint8Array.from(
  { length: POOL_SIZE },
  (() => {
    const random = randomNumbers(0);
    return () => random(256);
  })(),
);

export function noise(random: Random, length: number): Uint8Array<ArrayBuffer> {
  const at = random(POOL_SIZE - length);
  return pool.slice(at, at + length);
}

/** Some bytes of it other ones, or left out, or put in. */
export function damage(random: Random, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const damaged = [...bytes];
  for (let n = 1 + random(3); n > 0; n--) {
    const at = random(damaged.length + 1);
    damaged.splice(at, random(3), ...(random(2) ? [random(256)] : []));
  }
  return Uint8Array.from(damaged);
}

/** Messages of a side that may send bytes, and of one that may send anything: one of `honesty`. */
export function compose(random: Random, honesty = 5): unknown {
  const message = (length: number) => noise(random, length);
  const piece = (kind: number, length: number) => Uint8Array.of(kind, ...message(length));
  switch (random(honesty) ? 9 : random(6)) {
    case 0:
      return pick(random, [
        null,
        undefined,
        '',
        'text',
        0,
        NaN,
        true,
        {},
        [],
        [1],
        { bytes: message(3) },
        { taken: true },
        new Date(),
        new Error('x'),
        new Map(),
        1n,
        () => {},
      ]);
    case 1:
      return pick(random, [
        new Float64Array(4),
        new DataView(new ArrayBuffer(9)),
        new Uint8Array(new SharedArrayBuffer(random(9))),
        new SharedArrayBuffer(4),
        new Uint16Array(3),
        new ArrayBuffer(random(3)),
      ]);
    case 2:
      return random(4) ? piece(random(256), random(300)) : Uint8Array.of(2);
    case 3:
      return piece(1, MAX_STRANGER_MESSAGE + random(3)).buffer;
    case 4:
      return new Uint8Array(pick(random, [0, 1000, (512 << 10) + 2])).subarray(0, random(3));
    case 5: {
      const buffer = piece(1, 8).buffer;
      const view = new Uint8Array(buffer);
      structuredClone(buffer, { transfer: [buffer] });
      return random(2) ? view : buffer;
    }
    default:
      return piece(1, random(100));
  }
}
