import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { BytesSink, BytesSource } from '../../device/bytes.ts';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../../device/fs/constants.ts';
import { FsError } from '../../device/fs/errno.ts';
import type { DirectoryEntry } from '../../device/fs/filesystem.ts';
import { LiveDirectory, type LiveDirectoryOptions } from '../../harness/node/live/live-directory.ts';
import { changeOnHost, directoriesOf, fingerprints, NAMES } from './host-changes.ts';
import { randomNumbers } from './hostile-driver.ts';

type Random = (below: number) => number;
type Live = LiveDirectory['root'];

const TARGETS = ['a', '../b', '..', '.', '../outside', '../../outside/dir', '/etc/passwd'];
/** Inodes that a guest knows at once. */
const MAX_KNOWN = 30;
const own = { uid: process.getuid!(), gid: process.getgid!() };

/** A guest that does whatever it likes with a live directory, by what it has looked up at any time before. */
export class LiveGuest {
  readonly #live: LiveDirectory;
  readonly #next: Random;
  /** What it has looked up, the last ones. */
  readonly known: Live[] = [];

  constructor(live: LiveDirectory, next: Random) {
    this.#live = live;
    this.#next = next;
  }

  /** One operation. Returns what was read, if anything. */
  step(): string | undefined {
    try {
      return this.#do();
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      return undefined;
    }
  }

  #do(): string | undefined {
    const { any, name } = this;
    const live = this.#live;
    const next = this.#next;
    const node = { mode: [0o600, 0o755, 0o4755][next(3)]!, ...own };
    switch (next(16)) {
      case 0:
      case 1:
      case 2:
        return this.#know(live.lookup(any, name)?.inode);
      case 3:
        return this.#know(live.create(any, name, node, 2, {}).inode);
      case 4:
        return this.#know(live.mkdir(any, name, node).inode);
      case 5:
        return this.#know(live.symlink(any, name, TARGETS[next(TARGETS.length)]!, node).inode);
      case 6:
        return this.#know(live.link(any, this.any, name).inode);
      case 7:
        return void live.unlink(any, name);
      case 8:
        return void live.rmdir(any, name);
      case 9:
      case 10:
        return void live.rename(any, name, this.any, this.name, next(2), own);
      case 11: {
        const bytes = new TextEncoder().encode(`guest ${next(100)}`);
        return void live.write(any, next(2) ? next(10) : 'end', bytes.length, new BytesSource(bytes));
      }
      case 12: {
        const bytes = new Uint8Array(100);
        const count = live.read(any, 0, bytes.length, new BytesSink(bytes), 0) as number;
        return new TextDecoder().decode(bytes.subarray(0, count));
      }
      case 13:
        return void live.setattr(any, {
          mode: 0o600 + next(64),
          size: any.type === S_IFREG ? next(20) : undefined,
          mtime: 'now',
        });
      case 14:
        return [...(live.opendir(any).read(0, next(2) === 0, false) as Iterable<DirectoryEntry>)]
          .map(({ name: each }) => each)
          .join();
      default:
        return live.readlink(any) && undefined;
    }
  }

  get any(): Live {
    return this.#next(4) ? (this.known[this.#next(this.known.length || 1)] ?? this.#live.root) : this.#live.root;
  }

  get name(): string {
    return NAMES[this.#next(NAMES.length)]!;
  }

  #know(inode: Live | undefined): undefined {
    if (!inode) return;
    this.#live.retain(inode);
    this.known.push(inode);
    if (this.known.length > MAX_KNOWN) this.#live.release(this.known.splice(this.#next(MAX_KNOWN), 1)[0]!);
  }
}

/** What a guest finds in a directory, and what the host does: the same lines. */
export function viewOfGuest(live: LiveDirectory): string[] {
  const lines: string[] = [];
  const walk = (dir: Live, path: string) => {
    for (const { name, inode: entry, attr } of [
      ...(live.opendir(dir).read(0, true, false) as Iterable<DirectoryEntry>),
    ]) {
      if (name === '.' || name === '..') continue;
      const inode = entry as Live;
      const { mode, nlink, uid, size, mtime } = attr!;
      let content = '';
      if (inode.type === S_IFLNK) content = live.readlink(inode);
      if (inode.type === S_IFREG) {
        const bytes = new Uint8Array(size);
        void live.read(inode, 0, size, new BytesSink(bytes), 0);
        content = new TextDecoder().decode(bytes);
      }
      lines.push([path + name, mode.toString(8), nlink, uid, size, mtime.sec, mtime.nsec, content].join(' '));
      if (inode.isDirectory) walk(inode, `${path}${name}/`);
    }
  };
  walk(live.root, '');
  return lines.sort();
}

export function viewOfHost(directory: string, path = ''): string[] {
  const lines = readdirSync(directory).flatMap((name) => {
    const at = join(directory, name);
    const { mode, nlink, uid, size, mtimeNs } = lstatSync(at, { bigint: true });
    const type = Number(mode) & 0o170000;
    const content = type === S_IFREG ? readFileSync(at, 'utf8') : type === S_IFLNK ? readlinkSync(at) : '';
    const line = [
      path + name,
      mode.toString(8),
      nlink,
      uid,
      size,
      mtimeNs / 1_000_000_000n,
      mtimeNs % 1_000_000_000n,
      content,
    ];
    return [line.join(' '), ...(type === S_IFDIR ? viewOfHost(at, `${path}${name}/`) : [])];
  });
  return lines.sort();
}

/**
 * A random guest on the live directory `root`/share, while the host changes entries before each use of a path, or, without `isSwapping`,
 * whenever another process does it. `root`/outside, and what the host moves to `root`/gone, must stay as they are.
 */
export function attackLive(
  root: string,
  rounds: number,
  seed: number,
  { isSwapping = true, ...options }: LiveDirectoryOptions & { isSwapping?: boolean } = {},
): { swaps: number; reads: number; moves: number } {
  const next = randomNumbers(seed);
  const [share, outside, gone] = ['share', 'outside', 'gone'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  for (const dir of [outside, gone]) rmSync(dir, { recursive: true, force: true });
  mkdirSync(share, { recursive: true });
  mkdirSync(gone);
  mkdirSync(join(outside, 'dir/a/b'), { recursive: true });
  for (const name of ['a', 'b', 'dir/a/c', 'dir/c', 'dir/a/b/d'])
    writeFileSync(join(outside, name), `precious ${name}`, { mode: 0o640 });
  const precious = fingerprints(outside);
  const strange = new Set(directoriesOf(outside).map((path) => statSync(path, { bigint: true }).ino));
  const counts = { swaps: 0, reads: 0, moves: 0 };
  let eagerness = 1;
  const live = LiveDirectory.open(share, {
    io: 'now',
    ...options,
    beforeOperation: () => {
      if (isSwapping && next(eagerness) === 0 && changeOnHost(share, outside, next)) counts.swaps++;
    },
  });
  try {
    const guest = new LiveGuest(live, next);
    for (let round = 0; round < rounds; round++) {
      if (isSwapping) counts.moves += moveOut(share, gone, next);
      const moved = fingerprints(gone);
      eagerness = 1 + next(3);
      for (let n = next(8); n >= 0; n--) {
        const read = guest.step();
        if (read?.includes('precious')) throw new Error(`round ${round} of seed ${seed}: the guest has read ${read}`);
        if (read !== undefined) counts.reads++;
        const found = guest.known.find(({ identity }) => strange.has(identity.ino));
        if (found)
          throw new Error(`round ${round} of seed ${seed}: the guest has found inode ${found.identity.ino} outside`);
      }
      for (const [dir, before] of [
        [outside, precious],
        [gone, moved],
      ] as const) {
        const now = fingerprints(dir);
        if (now !== before) throw new Error(`round ${round} of seed ${seed} has changed ${dir}:\n${before}\n${now}`);
      }
    }
  } finally {
    live.end();
  }
  return counts;
}

function hasTwins(path: string): boolean {
  const stats = lstatSync(path);
  return stats.isDirectory() ? readdirSync(path).some((name) => hasTwins(join(path, name))) : stats.nlink > 1;
}

/** The host moves something out of the directory, or back. */
function moveOut(share: string, gone: string, next: Random): number {
  const name = NAMES[next(NAMES.length)]!;
  const [inside, away] = [join(share, name), join(gone, name)];
  try {
    // Another name of the same file is in the directory still.
    if (next(3)) {
      if (hasTwins(inside)) return 0;
      renameSync(inside, away);
    } else renameSync(away, inside);
    return 1;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return 0;
  }
}
