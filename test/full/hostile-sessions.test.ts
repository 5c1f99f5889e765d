import { expect } from 'chai';
import { Volume } from 'memfs';
import {
  loadCodec,
  MemoryStore,
  MigrationError,
  MigrationTarget,
  MigrationUnknownError,
  makeToken,
  migrateOut,
  SnapshotStore,
  type Successor,
} from '../../device/index.ts';
import { Link, MESSAGE } from '../../device/migration/link.ts';
import { type BareGuest, bareGuest } from '../support/bare-guest.ts';
import { randomNumbers } from '../support/hostile-driver.ts';
import { damage, noise, pick } from '../support/hostile-values.ts';
import { pipe } from '../support/migrations.ts';

const codec = loadCodec();
const TOKEN = makeToken();
const TYPES = Object.values(MESSAGE);
/** Milliseconds that a side is silent for until it is given up. */
const SILENCE = 1000;

interface Said {
  type: number;
  body: Uint8Array;
}

/** A peer that knows the token, and says what it likes. */
describe('a migration with a peer that has the right token and keeps to nothing', function () {
  this.timeout(600_000);
  const random = randomNumbers(7);
  const machines: BareGuest[] = [];
  const guest = async () => {
    const made = await bareGuest(await SnapshotStore.open(new MemoryStore(), codec), new Volume());
    machines.push(made);
    return made;
  };
  after(() => Promise.all(machines.map(({ machine }) => machine.destroy())));

  const send = (machine: BareGuest, channel: Parameters<typeof migrateOut>[1]) =>
    migrateOut(machine.machine.emulator, channel, { token: TOKEN, machine: {}, codec, timeoutMs: SILENCE });

  async function target() {
    const there = await guest();
    const calls: string[] = [];
    const note = (what: string) => async () => void calls.push(what);
    const incoming = new MigrationTarget<Successor>({
      token: TOKEN,
      codec,
      timeoutMs: SILENCE,
      make: async () => ({
        emulator: there.machine.emulator,
        start: note('start'),
        ready: note('ready'),
        destroy: note('destroy'),
      }),
    });
    return { incoming, calls };
  }

  /** What an honest source says, in order. */
  async function record(): Promise<Said[]> {
    const said: Said[] = [];
    const [here, there] = pipe();
    const { incoming, calls } = await target();
    const listening = {
      ...here,
      send: (message: Uint8Array) => {
        // Behind the greeting and the proof: number, type, body, HMAC.
        if (message.length > 41) said.push({ type: message[8]!, body: message.slice(9, -32) });
        else said.push({ type: message[8]!, body: new Uint8Array(0) });
        return here.send(message);
      },
    };
    await Promise.all([send(await guest(), listening), incoming.serve(there)]);
    expect(calls).to.deep.equal(['start', 'ready']);
    const first = said.findIndex(({ type }) => type === MESSAGE.DESCRIPTION);
    return said.slice(first);
  }

  const lie = (honest: Said): Said =>
    pick(random, [
      () => ({ ...honest, body: damage(random, honest.body) }),
      () => ({ ...honest, type: pick(random, TYPES) }),
      () => ({ type: random(256), body: noise(random, random(200)) }),
      () => ({ ...honest, body: new Uint8Array(0) }),
    ])();

  it('a source: a machine arrives whole or not at all, with one error, whatever is said in which state', async () => {
    const honest = await record();
    const outcomes = new Map<string, number>();
    for (let n = 0; n < 60; n++) {
      const [here, there] = pipe();
      const { incoming, calls } = await target();
      const served = incoming.serve(there).then(
        () => 'taken over',
        (error: unknown) => error,
      );
      const link = await Link.open(here, 'source', TOKEN, SILENCE);
      const words = [...honest];
      const at = random(words.length);
      for (let lies = 1 + random(3); lies--; ) {
        const where = Math.min(words.length - 1, at + random(3));
        if (random(4) === 0) words.splice(where, 1);
        else if (random(3) === 0) words.splice(where, 0, lie(words[where]!));
        else words[where] = lie(words[where]!);
      }
      for (const { type, body } of words) await link.send(type, body).catch(() => {});
      if (random(2)) link.close();
      const result = await served;
      link.close();
      if (result === 'taken over' || result === undefined) expect(calls, `session ${n}`).not.to.include('destroy');
      else {
        expect(result, `session ${n}: ${String(result)}`).to.be.instanceOf(MigrationError);
        expect(calls, `session ${n}`).not.to.include('start');
      }
      const key = result instanceof Error ? result.message.replaceAll(/\d+/g, 'N').slice(0, 40) : String(result);
      outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
    }
    expect(outcomes.size, JSON.stringify([...outcomes])).to.be.above(5);
  });

  it('a destination: the machine stays, is handed over, or is settled, with one error, whatever is answered', async () => {
    const outcomes = new Map<string, number>();
    const answers = [MESSAGE.ACCEPTED, MESSAGE.READY, MESSAGE.READY, MESSAGE.RUNNING];
    let here = await guest();
    for (let n = 0; n < 60; n++) {
      const [channel, there] = pipe();
      const sent = send(here, channel).then(
        () => 'handed over',
        (error: unknown) => error,
      );
      const link = await Link.open(there, 'destination', TOKEN, SILENCE);
      const honesty = random(5);
      const reply = async () => {
        for (let turn = 0; ; ) {
          const { type } = await link.receive(...TYPES.filter((each) => each !== MESSAGE.REFUSED));
          if (![MESSAGE.DESCRIPTION, MESSAGE.ROUND, MESSAGE.SWITCH].includes(type as 1)) continue;
          const answer: Said = {
            type: answers[Math.min(turn, type === MESSAGE.SWITCH ? 3 : 2)]!,
            body: new Uint8Array(0),
          };
          if (type === MESSAGE.SWITCH) answer.type = MESSAGE.RUNNING;
          const { type: told, body } = turn++ < honesty ? answer : lie(answer);
          await link.send(told, body);
          if (turn > honesty && random(2)) link.close();
        }
      };
      await reply().catch(() => {});
      link.close();
      const result = await sent;
      if (result === 'handed over') here = await guest();
      else {
        expect(result, `session ${n}: ${String(result)}`).to.be.instanceOf(MigrationError);
        if (result instanceof MigrationUnknownError) result.resume();
      }
      const key =
        result instanceof Error
          ? `${result.name} ${result.message.replaceAll(/\d+/g, 'N').slice(0, 40)}`
          : String(result);
      outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
    }
    expect(outcomes.size, JSON.stringify([...outcomes])).to.be.above(3);
  });
});
