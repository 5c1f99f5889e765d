import { type Endpoint, expose } from 'comlink';
import { mayCall } from '../../harness/node/migration/door.ts';
import { guarded, isComlinkMessage } from '../../web/protocol/guard.ts';
import { decodeNote, parseAddress } from '../../web/worker/rendezvous.ts';
import { compose, count, noise, type Outcomes, pick, type Random } from './hostile-values.ts';

/** Another tab that posts anything to where tabs meet, addresses that were pasted, and what a page's worker is told. */
export function fuzzPage(random: Random, messages: number): Outcomes {
  const outcomes: Outcomes = new Map();
  const uuid = '01234567-89ab-4cde-8f01-23456789abcd';
  let tell: (event: Event) => void = () => {};
  // Comlink's own end, which what is let through must not make throw.
  expose(
    { shells: { open: () => {} } },
    guarded({
      postMessage: () => {},
      addEventListener: (_: string, listener: (event: Event) => void) => (tell = listener),
      removeEventListener: () => {},
    } as Endpoint),
  );
  for (let n = 0; n < messages; n++) {
    const strange = compose(random);
    const note = pick(random, [
      strange,
      { here: uuid },
      { go: uuid },
      { here: strange },
      { go: [uuid] },
      Object.create({ here: uuid }),
    ]);
    const id = decodeNote(random(2) ? 'here' : 'go', note);
    if (id !== undefined && id !== uuid) throw new Error('a note of something else');
    count(outcomes, id === undefined ? 'no note' : 'note');
    const wire = () =>
      pick(random, [
        { type: 'RAW', value: 1 },
        { type: 'HANDLER', name: 'proxy', value: strange },
        { type: 'HANDLER', name: 'evil', value: 1 },
        strange,
      ]);
    const list = <T>(make: () => T) => (random(5) ? Array.from({ length: random(random(9) ? 4 : 40) }, make) : strange);
    const call = random(9)
      ? {
          id: pick(random, [uuid, uuid, 5, strange]),
          type: pick(random, ['GET', 'APPLY', 'SET', 'CONSTRUCT', 'RELEASE', 'RAW', 'HANDLER', strange]),
          path: list(() => pick(random, ['shells', 'open', '__proto__', 'constructor', 5])),
          argumentList: list(wire),
        }
      : strange;
    tell(new MessageEvent('message', { data: call }));
    const isCall = isComlinkMessage(call);
    if (isCall) {
      const { type, path } = call as { type: string; path?: unknown[] };
      if (/SET|CONSTRUCT/.test(type) || path?.some((part) => part === '__proto__' || part === 'constructor'))
        throw new Error('a call that leads anywhere');
    }
    count(outcomes, isCall ? 'call' : 'no call');
    if (n % 10) continue;
    const text = () => String.fromCharCode(...noise(random, random(30)));
    if (
      mayCall(
        random(2)
          ? text()
          : `http${random(2) ? 's' : ''}://${pick(random, ['localhost.evil', 'localhost@evil', 'evil'])}${text()}`,
        'localhost',
        [],
      )
    )
      throw new Error('a page from elsewhere may call');
    try {
      parseAddress(
        pick(random, [
          'ws://localhost:1#',
          'wss://',
          '',
          'http://x#y',
          'ws://h:1#%E0%A4%A',
          String.fromCharCode(...noise(random, random(40))),
        ]) + String.fromCharCode(...noise(random, random(30))),
      );
    } catch (error) {
      if (!(error instanceof Error) || error instanceof TypeError || error instanceof URIError) throw error;
      count(outcomes, 'no address');
    }
  }
  return outcomes;
}
