import type { Inode } from '../../device/filesystems/memory/inode.ts';
import type { Machine } from './machine.ts';

/** Options of {@link forwardChanges}. */
export interface ForwardOptions {
  /** Which share. Default: the first one. */
  tag?: string;
  /** Where the guest has it. Default: where `Vm.mount` puts it. */
  directory?: string;
  /** Told what could not be forwarded: the guest goes on without it. Default: nobody. */
  onProblem?: (error: Error) => void;
}

/** Changes that come together are told together. */
const GATHER_MS = 50;
/** Paths in one command. */
const LOT = 100;

/**
 * Wakes those in the guest who wait with inotify for what others change in a share, which Linux's virtio-fs has no way to tell: each changed
 * file, and the directory it is in, is given the permissions in the guest that it has, which its watchers hear as IN_ATTRIB. Nothing but its ctime
 * changes. What the guest changes itself is not forwarded.
 *
 * @returns what ends it. The guest may still be told once, of what it was being told already.
 * @throws VmError `share` for a filesystem that is not in memory.
 */
export function forwardChanges(
  machine: Machine,
  { tag, directory, onProblem = () => {} }: ForwardOptions = {},
): () => void {
  const share = machine.share(tag);
  const { files } = share;
  const { session } = share.device;
  const top = directory ?? share.mountPoint;
  const changed = new Set<Inode>();
  /** What the guest is being told of, with these permissions; and those that it was given meanwhile, by whomever. */
  let telling: { mode: number; inodes: ReadonlySet<Inode> } | undefined;
  const givenMeanwhile = new Map<Inode, number>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isSending = false;
  let isStopped = false;

  const modeOf = (inode: Inode) => inode.mode & 0o7777;
  const tell = async (mode: number, inodes: Inode[]) => {
    // What has been removed is left to its directory.
    const paths = inodes.flatMap((inode) => files.path(inode)?.join('/') ?? []);
    if (isStopped || !paths.length) return;
    telling = { mode, inodes: new Set(inodes) };
    try {
      await machine.exec(['chmod', mode.toString(8), '--', ...paths.map((path) => `${top}/${path}`)]);
    } finally {
      telling = undefined;
      givenMeanwhile.clear();
    }
  };
  /** The changed inodes by their permissions; links have none. */
  const take = (): Map<number, Inode[]> => {
    const lots = new Map<number, Inode[]>();
    for (const inode of changed) {
      if (inode.isSymlink) continue;
      const lot = lots.get(modeOf(inode));
      if (lot) lot.push(inode);
      else lots.set(modeOf(inode), [inode]);
    }
    changed.clear();
    return lots;
  };
  const send = async () => {
    timer = undefined;
    isSending = true;
    try {
      for (const [mode, inodes] of take()) {
        for (let at = 0; at < inodes.length; at += LOT)
          await tell(
            mode,
            inodes.slice(at, at + LOT).filter((inode) => modeOf(inode) === mode),
          );
      }
    } catch (error) {
      onProblem(error as Error);
    } finally {
      isSending = false;
      if (changed.size) schedule();
    }
  };
  const schedule = () => {
    if (!isSending) timer ??= setTimeout(() => void send(), GATHER_MS);
  };
  const add = (inode: Inode) => {
    changed.add(inode);
    schedule();
  };
  const unwatch = files.watch({
    entryChanged(dir: Inode, name) {
      if (session.isServing) return;
      add(dir);
      const inode = files.lookup(dir, name);
      if (inode) add(inode);
    },
    inodeChanged(inode: Inode) {
      const isTelling = session.isServing && modeOf(inode) === telling?.mode;
      if (telling?.inodes.has(inode) && !isTelling) givenMeanwhile.set(inode, modeOf(inode));
      if (!session.isServing) return add(inode);
      // The guest gives it the permissions that it had when it was told.
      const mode = givenMeanwhile.get(inode);
      if (mode !== undefined && isTelling) queueMicrotask(() => files.setattr(inode, { mode }));
    },
    everythingChanged: () => changed.clear(),
  });
  return () => {
    isStopped = true;
    unwatch();
    clearTimeout(timer);
    changed.clear();
  };
}
