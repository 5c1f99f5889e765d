import { expect } from 'chai';
import { type Check, STEPS } from '../../../device/conformance/check.ts';
import { Client } from '../../../device/conformance/client.ts';
import { PosixSession } from '../../../device/conformance/posix-session.ts';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { FileSystem } from '../../../device/fs/filesystem.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { createFsFromVolume, volumeOf } from '../../../device/index.ts';
import { type RecordedEvent, readRecording } from '../../../device/replay/recording.ts';
import { type ReplayDifference, type ReplayReport, replayRequests } from '../../../device/replay/replay.ts';
import { lateFileSystem } from '../../support/late-filesystem.ts';
import { recordEvents, recordingOf } from '../../support/recorded-session.ts';

async function record(
  { policy, run }: Pick<Check, 'policy' | 'run'>,
  filesystem: FileSystem,
): Promise<RecordedEvent[]> {
  const session = new FuseSession({ ...policy, filesystem });
  const events = recordEvents(session);
  const posix = new PosixSession(session);
  await posix.init();
  await posix.begin('top');
  await run(posix, {});
  session.close();
  return events;
}

async function replay(
  events: RecordedEvent[],
  filesystem: FileSystem,
  policy: Check['policy'] = {},
  patience?: number,
): Promise<ReplayReport & { told: string[] }> {
  const differences: ReplayDifference[] = [];
  const report = await replayRequests(readRecording(recordingOf(events)), filesystem, {
    ...policy,
    patience,
    onDifference: (difference) => differences.push(difference),
  });
  expect(report.differences).to.equal(differences.length);
  return {
    ...report,
    told: differences.map(
      ({ opcode, path, what, recorded, replayed }) => `${opcode} ${path} ${what}: ${recorded}, ${replayed}`,
    ),
  };
}

describe('replay of recorded requests', () => {
  for (const [n, check] of STEPS.entries())
    it(`agrees with itself: ${check.subject}: ${check.name}`, async () => {
      const events = await record(check, new MemoryFileSystem());
      for (const filesystem of [shifted(), ...(n % 4 ? [] : [lateFileSystem(shifted(), { seed: 1 })])]) {
        const { told, skipped, requests } = await replay(events, filesystem, check.policy);
        expect(told).to.deep.equal([]);
        expect(skipped).to.equal(0);
        expect(requests).to.equal(events.filter(({ kind }) => kind === 'request').length);
      }
    });

  /** Looks at all there is, and changes it. */
  async function look(session: FuseSession): Promise<void> {
    const client = new Client(session);
    await client.init();
    const nodeid = await client.node('f');
    const { fh } = (await client.ask('OPEN', nodeid, { flags: 2 })).out;
    await client.ask('READ', nodeid, { fh, offset: 0, size: 100 });
    await client.ask('GETXATTR', nodeid, { size: 100 }, 'user.a');
    await client.ask('WRITE', nodeid, { fh, offset: 2, size: 1 }, new Uint8Array(1));
    await client.ask('RELEASE', nodeid, { fh });
    const dir = await client.node('d');
    for (const plus of [false, true]) {
      const opened = (await client.ask('OPENDIR', dir, {})).out;
      const known: number[] = [];
      for (let cookie = 0; ; ) {
        const entries = await client.list(dir, opened.fh, cookie, 300, plus);
        if (entries.length === 0) break;
        cookie = entries.at(-1)!.cookie;
        known.push(...entries.flatMap((entry) => entry.nodeid || []));
      }
      await client.ask('RELEASEDIR', dir, { fh: opened.fh });
      for (const each of known) {
        await client.ask('GETATTR', each);
        await client.ask('FORGET', each, { nlookup: 1 });
      }
    }
  }

  /** What {@link look} looks at. */
  function files(change: (fs: ReturnType<typeof createFsFromVolume>) => void = () => {}): MemoryFileSystem {
    const filesystem = new MemoryFileSystem();
    const fs = createFsFromVolume(volumeOf(filesystem));
    fs.writeFileSync('/f', 'hello');
    filesystem.setxattr(filesystem.lookup(filesystem.root, 'f')!.inode, 'user.a', new Uint8Array([1]), 0);
    fs.mkdirSync('/d');
    for (const name of ['one', 'two', 'three', 'four', 'five']) fs.writeFileSync(`/d/${name}`, name);
    change(fs);
    return filesystem;
  }

  const changes: Record<string, [change: Parameters<typeof files>[0], told: string[], skipped?: number]> = {
    'nothing but times and inode numbers': [
      (fs) => {
        fs.renameSync('/f', '/g');
        fs.writeFileSync('/f', 'hello');
        fs.utimesSync('/f', 1, 2);
        fs.renameSync('/g', '/f');
        fs.renameSync('/d/one', '/d/six');
        fs.writeFileSync('/d/one', 'one');
        fs.unlinkSync('/d/six');
      },
      [],
    ],
    'a byte': [(fs) => fs.writeFileSync('/f', 'hellO'), ['READ /f byte 4 of the data: 111, 79']],
    'a length': [(fs) => fs.writeFileSync('/f', 'hello!'), ['LOOKUP /f size: 5, 6', 'READ /f bytes of data: 5, 6']],
    'mode and owner': [
      (fs) => {
        fs.chmodSync('/f', 0o600);
        fs.chownSync('/f', 1, 2);
      },
      ['LOOKUP /f mode: 0100666, 0100600', 'LOOKUP /f uid: 0, 1', 'LOOKUP /f gid: 0, 2'],
    ],
    'a file that is missing': [(fs) => fs.unlinkSync('/f'), ['LOOKUP /f answer: ok, ENOENT'], 5],
    'names that are missing, and others': [
      (fs) => fs.renameSync('/d/two', '/d/deux'),
      ['READDIR', 'READDIRPLUS'].flatMap((opcode) => [
        `${opcode} /d/two entry: there, missing`,
        `${opcode} /d/deux entry: missing, there`,
      ]),
      2,
    ],
    'what names are of': [
      (fs) => {
        fs.unlinkSync('/d/two');
        fs.mkdirSync('/d/two');
      },
      [
        'READDIR /d/two type: 8, 4',
        'READDIRPLUS /d/two type: 8, 4',
        'READDIRPLUS /d/two mode: 0100666, 040777',
        'GETATTR /d/two mode: 0100666, 040777',
      ],
    ],
  };
  for (const [name, [change, expected, skipped = 0]] of Object.entries(changes))
    it(`tells ${name}`, async () => {
      const session = new FuseSession({ filesystem: files() });
      const events = recordEvents(session);
      await look(session);
      session.close();
      const report = await replay(events, files(change));
      expect(report.told).to.have.members(expected);
      expect(report.skipped).to.equal(skipped);
    });

  it('gives back all that it has asked for', async () => {
    const session = new FuseSession({ filesystem: files() });
    const events = recordEvents(session);
    await look(session);
    session.close();
    const filesystem = files((fs) => fs.writeFileSync('/d/of the replay alone', ''));
    const kept = new Map<unknown, number>();
    const count = (by: number) => (inode: { ino: number }) => kept.set(inode.ino, (kept.get(inode.ino) ?? 0) + by);
    const [retain, release] = [count(1), count(-1)];
    const watched: FileSystem = new Proxy(filesystem, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (property !== 'retain' && property !== 'release')
          return typeof value === 'function' ? value.bind(target) : value;
        return (inode: never) => {
          (property === 'retain' ? retain : release)(inode);
          return Reflect.apply(value as () => void, target, [inode]);
        };
      },
    });
    const held = () => [...kept.values()].filter(Boolean).length;
    let atEnd = 0;
    async function* watchedEvents() {
      yield* events;
      atEnd = held();
    }
    await replayRequests(watchedEvents(), watched);
    // The two that the guest has looked up and not forgotten.
    expect(atEnd).to.equal(2);
    expect(held()).to.equal(0);
  });

  it('does not wait for ever for an answer', async () => {
    const session = new FuseSession({ filesystem: files() });
    const events = recordEvents(session);
    await look(session);
    session.close();
    const silent: FileSystem = { ...proxyOf(files()), isSynchronous: false, read: () => new Promise(() => {}) };
    const { told } = await replay(events, silent, {}, 10);
    expect(told).to.deep.equal(['READ /f answer: ok, none']);
  });
});

/** An empty filesystem with other inode numbers. */
function shifted(): MemoryFileSystem {
  const filesystem = new MemoryFileSystem();
  const fs = createFsFromVolume(volumeOf(filesystem));
  for (let n = 0; n < 10; n++) {
    fs.writeFileSync('/x', '');
    fs.unlinkSync('/x');
  }
  return filesystem;
}

/** All that a filesystem can, as functions of an object. */
function proxyOf(filesystem: MemoryFileSystem): FileSystem {
  const names: string[] = [];
  for (let each: object = filesystem; each !== Object.prototype; each = Object.getPrototypeOf(each) as object)
    names.push(...Object.getOwnPropertyNames(each));
  return Object.fromEntries(
    names.map((name) => {
      const value: unknown = Reflect.get(filesystem, name, filesystem);
      return [name, typeof value === 'function' ? value.bind(filesystem) : value];
    }),
  ) as unknown as FileSystem;
}
