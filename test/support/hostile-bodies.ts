import { MigrationError } from '../../device/index.ts';
import {
  decodeDescription,
  decodeFate,
  decodeLayer,
  decodeQuery,
  decodeRefusal,
  decodeRound,
} from '../../device/migration/bodies.ts';
import { decodeHello, encodeHello } from '../../device/migration/hello.ts';
import { count, damage, ENCODER, type Outcomes, pick, type Random } from './hostile-values.ts';

/** JSON as the other side may make it up. */
function composeJson(random: Random, depth = 0): unknown {
  const uuid = '01234567-89ab-4cde-8f01-23456789abcd';
  const value = () =>
    pick(random, [
      uuid,
      uuid,
      'x'.repeat(64),
      'a.layer',
      '',
      '../x',
      '../../etc/passwd.layer',
      'CON.layer',
      'started',
      'never',
      '\u001b[2J',
      '\ud800',
      0,
      1,
      -1,
      0.5,
      Infinity,
      2 ** 53,
      true,
      false,
      null,
    ]);
  if (depth > 3 || random(3) === 0) return value();
  if (random(4) === 0)
    return Array.from({ length: random(random(20) ? 4 : 300) }, () => composeJson(random, depth + 1));
  const names = [
    'id',
    'machine',
    'name',
    'length',
    'snapshot',
    'isLast',
    'fate',
    'reason',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
  ];
  return Object.fromEntries(
    Array.from({ length: random(7) }, () => [pick(random, names), composeJson(random, depth + 1)]),
  );
}

const BODIES = [decodeDescription, decodeLayer, decodeRound, decodeQuery, decodeFate, decodeRefusal] as const;

/** A side that knows the token, and sends anything as the bodies of its messages; and greetings of one that does not. */
export function fuzzBodies(random: Random, messages: number): Outcomes {
  const outcomes: Outcomes = new Map();
  const good = [
    { id: '01234567-89ab-4cde-8f01-23456789abcd', machine: { memory: 256, image: 'x', devices: ['a'] } },
    { name: `${'0'.repeat(64)}.layer`, length: 5 },
    { snapshot: '0'.repeat(64), isLast: false },
    { id: '01234567-89ab-4cde-8f01-23456789abcd' },
    { fate: 'never' },
    { reason: 'no \u001b[31m room' },
  ];
  for (let n = 0; n < messages; n++) {
    const kind = random(BODIES.length);
    const base = random(3)
      ? {
          ...(random(4) ? good[kind] : (composeJson(random) as object)),
          ...(random(2) ? (composeJson(random) as object) : {}),
        }
      : composeJson(random);
    const text = ENCODER.encode(random(200) ? JSON.stringify(base) : '['.repeat(random(60_000)));
    try {
      const result = random(10)
        ? BODIES[kind]!(random(5) ? text : damage(random, text))
        : decodeHello(
            damage(random, encodeHello(pick(random, ['source', 'destination']), random(2) === 1)),
            'source',
            true,
          );
      if (typeof result === 'string' && /[\u0000-\u001f\u007f-\u009f]/.test(result))
        throw new Error('what is not printable came through');
      if (typeof result === 'object' && 'name' in result && !/^[\w-]+\.layer$/.test(result.name))
        throw new Error(`a layer by the name of ${result.name}`);
      count(outcomes, `accepted ${BODIES[kind]!.name}`);
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      count(outcomes, error.name);
    }
  }
  return outcomes;
}
