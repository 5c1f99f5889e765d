import { expect } from 'chai';
import fc from 'fast-check';
import { STEPS } from '../../../device/conformance/check.ts';
import { PosixSession } from '../../../device/conformance/posix-session.ts';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import {
  encodeEvent,
  MAX_MESSAGE,
  type RecordedEvent,
  RecordingError,
  readRecording,
  recordingEnd,
  recordingStart,
} from '../../../device/replay/recording.ts';
import { replayRequests } from '../../../device/replay/replay.ts';
import { recordEvents, recordingOf } from '../../support/recorded-session.ts';

async function read(parts: Iterable<Uint8Array>): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for await (const event of readRecording(parts)) events.push(event);
  return events;
}

async function refused(parts: Iterable<Uint8Array>): Promise<string> {
  try {
    await read(parts);
  } catch (error) {
    expect(error).to.be.instanceOf(RecordingError);
    return (error as Error).message;
  }
  throw new Error('it was read');
}

const bytes = (length: number) => new Uint8Array(length).fill(7);
const request = (number: number, message = bytes(40), capacity = 16): RecordedEvent => ({
  kind: 'request',
  number,
  capacity,
  message,
});
const reply = (number: number, message = bytes(16)): RecordedEvent => ({ kind: 'reply', number, message });

describe('recording of requests', () => {
  it('is read as it was written, in parts of any size', async () => {
    const event = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((message) => ({ message, isReply: false })),
      fc.uint8Array({ maxLength: 200 }).map((message) => ({ message, isReply: true })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event), fc.integer({ min: 1, max: 300 }), async (list, size) => {
        const events: RecordedEvent[] = [];
        const open: number[] = [];
        let count = 0;
        for (const { message, isReply } of list) {
          const answered = isReply ? open.pop() : undefined;
          if (answered !== undefined) events.push(reply(answered, message));
          else {
            events.push(request(++count, message, count % 3));
            if (count % 3) open.push(count);
          }
        }
        const whole = Buffer.concat(recordingOf(events));
        const parts = Array.from({ length: Math.ceil(whole.length / size) }, (_, n) =>
          whole.subarray(n * size, (n + 1) * size),
        );
        expect(await read(parts)).to.deep.equal(events);
      }),
    );
  });

  it('is refused where something is wrong, which is named', async () => {
    const start = recordingStart();
    const end = recordingEnd(1);
    const one = encodeEvent(request(1));
    expect(await refused([])).to.match(/no recording/);
    expect(await refused([new TextEncoder().encode('{"requests": []}')])).to.match(/no recording/);
    expect(await refused([start])).to.match(/cut off at byte 20, after 0 requests/);
    expect(await refused([start, one])).to.match(/cut off at byte \d+, after 1 requests/);
    expect(await refused([start, one.subarray(0, -1)])).to.match(/cut off at byte 20/);
    expect(await refused([start, one, recordingEnd(2)])).to.match(/ends after 2 requests, and has 1/);
    expect(await refused([start, one, end, start])).to.match(/something comes after its end/);
    expect(await refused([start, encodeEvent(request(2))])).to.match(/request 2 comes after request 0/);
    expect(await refused([start, one, encodeEvent(reply(2))])).to.match(/reply to request 2/);
    expect(await refused([start, one, ...[1, 2].map(() => encodeEvent(reply(1)))])).to.match(/reply to request 1/);
    expect(await refused([start, encodeEvent(request(1, bytes(40), 0)), encodeEvent(reply(1))])).to.match(/reply/);
    const damaged = one.slice();
    damaged[30]! ^= 1;
    expect(await refused([start, damaged])).to.match(/at byte 20: the checksum is wrong/);
    const long = one.slice();
    new DataView(long.buffer).setUint32(0, 0xffffffff, true);
    expect(await refused([start, long])).to.match(/4294967295 bytes in one message/);
  });

  it('has no message that its reader refuses', async () => {
    const events = [request(1, bytes(MAX_MESSAGE + 5), 2 ** 31), reply(1, bytes(MAX_MESSAGE + 5))];
    const [first, second] = await read(recordingOf(events));
    expect(first).to.deep.equal(request(1, bytes(MAX_MESSAGE), MAX_MESSAGE));
    expect(second).to.deep.equal(reply(1, bytes(MAX_MESSAGE)));
  });

  it('ends the replay of what no driver makes, and takes bounded memory', async () => {
    const waiting = Array.from({ length: 200 }, (_, n) => request(n + 1, bytes(40), MAX_MESSAGE));
    const error = await replayRequests(readRecording(recordingOf(waiting)), new MemoryFileSystem()).catch(
      (thrown) => thrown as Error,
    );
    expect(error)
      .to.be.instanceOf(RecordingError)
      .with.property('message')
      .that.matches(/without a reply/);
  });

  it('can be anything: it is refused, or replayed', async () => {
    const recorded: RecordedEvent[] = [];
    for (const check of STEPS.slice(0, 60)) {
      const session = new FuseSession({ filesystem: new MemoryFileSystem() });
      const events = recordEvents(session);
      const posix = new PosixSession(session);
      await posix.init();
      await posix.begin('top');
      await check.run(posix, {}).catch(() => {});
      session.close();
      const base = recorded.filter(({ kind }) => kind === 'request').length;
      for (const event of events) recorded.push({ ...event, number: event.number + base });
    }
    const whole = Buffer.concat(recordingOf(recorded));
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 });
    let refusals = 0;
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(4000), async (changes, begin) => {
        const copy = Buffer.from(whole);
        for (const [at, byte] of changes) copy[(begin + at) % copy.length] = byte;
        await read([copy]).catch((error) => {
          expect(error).to.be.instanceOf(RecordingError);
          refusals++;
        });
      }),
      { numRuns: 100 },
    );
    expect(refusals).to.be.above(90);
    // With checksums that are right: every message may be anybody's.
    const change = fc.tuple(fc.nat(), fc.nat(), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.boolean());
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 40 }), async (changes) => {
        const events = recorded.slice(0, 600).map((event) => ({ ...event, message: event.message.slice() }));
        for (const [which, at, byte, isCut] of changes) {
          const event = events[which % events.length]!;
          if (isCut) event.message = event.message.slice(0, at % (event.message.length + 1));
          else if (event.message.length) event.message[at % event.message.length] = byte;
        }
        await replayRequests(events, new MemoryFileSystem({ size: 1 << 24 }), { patience: 10 });
      }),
      { numRuns: 60 },
    );
  });
});
