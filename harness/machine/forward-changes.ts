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
/** Paths whose state is remembered. */
const MAX_KNOWN = 10_000;

/**
 * Wakes those in the guest who wait with inotify for what the host changes in a share, which Linux's virtio-fs has no way to tell: each changed
 * file, and the directory it is in, is given the permissions in the guest that it has, which its watchers hear as IN_ATTRIB. Nothing but its ctime
 * changes. The guest's own changes are forwarded too, which costs a command and does no harm.
 *
 * @returns what ends it. The guest may still be told once, of what it was being told already.
 */
export function forwardChanges(
  machine: Machine,
  { tag, directory, onProblem = () => {} }: ForwardOptions = {},
): () => void {
  const share = machine.share(tag);
  const top = directory ?? share.mountPoint;
  const changed = new Set<string>();
  /** What was told of each path: the forwarding itself changes none of it. */
  const known = new Map<string, string>();
  /** Permissions of what the guest is being told of, once the host has changed them meanwhile. */
  const changedMeanwhile = new Map<string, number>();
  /** What it is being told, and with which permissions. */
  let telling: { paths: ReadonlySet<string>; mode: number } | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isSending = false;
  let isStopped = false;

  /** Permissions; undefined for what is not there any more, and for links. */
  const modeOf = (path: string) => {
    const stats = share.fs.lstatSync(`/${path}`, { throwIfNoEntry: false });
    return stats?.isSymbolicLink() ? undefined : stats && Number(stats.mode) & 0o7777;
  };
  const tell = async (mode: number, lot: string[]) => {
    const paths = isStopped ? [] : lot.filter((path) => modeOf(path) === mode);
    if (!paths.length) return;
    telling = { paths: new Set(paths), mode };
    try {
      await machine.exec(['chmod', mode.toString(8), '--', ...paths.map((path) => `${top}/${path}`)]);
    } finally {
      telling = undefined;
      changedMeanwhile.clear();
    }
  };
  /** Sees to it that the host's permissions stay, where they have changed since the guest was told. */
  const keep = (path: string) => {
    const mode = telling?.paths.has(path) ? modeOf(path) : undefined;
    if (mode === undefined) return;
    const wanted = changedMeanwhile.get(path);
    if (mode !== telling!.mode) changedMeanwhile.set(path, mode);
    else if (wanted !== undefined)
      queueMicrotask(() => modeOf(path) === mode && share.fs.chmodSync(`/${path}`, wanted));
  };
  /** The changed paths by their permissions. Removed ones are left to their directories, and a link has none. */
  const take = (): Map<number, string[]> => {
    const lots = new Map<number, string[]>();
    if (known.size > MAX_KNOWN) known.clear();
    for (const path of changed) {
      const stats = share.fs.lstatSync(`/${path}`, { throwIfNoEntry: false });
      const state = stats && [stats.ino, stats.mode, stats.size, stats.nlink, stats.mtimeMs].join();
      if (!state || stats.isSymbolicLink() || known.get(path) === state) continue;
      known.set(path, state);
      const mode = Number(stats.mode) & 0o7777;
      lots.set(mode, [...(lots.get(mode) ?? []), path]);
    }
    changed.clear();
    return lots;
  };
  const send = async () => {
    timer = undefined;
    isSending = true;
    try {
      for (const [mode, paths] of take()) {
        for (let at = 0; at < paths.length; at += LOT) await tell(mode, paths.slice(at, at + LOT));
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
  const watcher = share.fs.watch('/', { recursive: true }, (_event, name) => {
    const path = String(name);
    keep(path);
    changed.add(path);
    changed.add(path.slice(0, Math.max(0, path.lastIndexOf('/'))));
    schedule();
  });
  return () => {
    isStopped = true;
    watcher.close();
    clearTimeout(timer);
    changed.clear();
  };
}
