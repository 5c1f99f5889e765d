import type { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import { S_IFREG } from '../../../device/fs/constants.ts';
import { TreeWriter } from '../../../device/trees/tree-writer.ts';
import type { RootDevice } from '../config.ts';
import { VmError } from '../errors.ts';

/** Where they are in a root, or in somebody else's initial RAM disk, until they run, which takes them away. */
export const PROGRAMS_PLACE = '.v86-virtiofs';

/** The programs of `guest-images/` that a root filesystem does not have: bytes of static executables. */
export interface RootPrograms {
  /** Process 1. */
  init: Uint8Array;
  /** What runs commands for the host, beside it. */
  agent: Uint8Array;
}

/** The words of a kernel's command line that give it this root. They go last. @throws VmError `configuration`. */
export function rootCmdline({ tag, init }: RootDevice): string {
  if (!/^[\w.:-]+$/.test(tag))
    throw new VmError(
      'configuration',
      `a root can't have the tag ${JSON.stringify(tag)}: give one of letters, digits and .:_-`,
    );
  if (init !== undefined && !/^\/[\w./:=+-]+( [\w./:=+-]+)*$/.test(init))
    throw new VmError(
      'configuration',
      `${JSON.stringify(init)} can't be process 1 of a root: give a path, and arguments without quotes`,
    );
  const words = ['rootfstype=virtiofs', `root=${tag}`, 'rw', `init=/${PROGRAMS_PLACE}/init`];
  return [...words, ...(init === undefined ? [] : ['--', init])].join(' ');
}

/**
 * `more`, words of a kernel's command line, for an initial RAM disk that has the programs besides its own: they run first, and then what it has as
 * process 1, with the arguments behind `--`.
 */
export function besideCmdline(more = ''): string {
  const [words, ...rest] = more.split(/(?:^| )-- /) as [string, ...string[]];
  const own = [...words.matchAll(/(?:^| )rdinit=(\S+)/g)].at(-1)?.[1] ?? '/init';
  return [words, `rdinit=/${PROGRAMS_PLACE}/init`, '--', own, ...rest].filter(Boolean).join(' ');
}

/** Puts the programs into a root filesystem that is about to be booted from, and takes away what is in their place. @throws FsError ENOSPC. */
export function putRootPrograms(filesystem: MemoryFileSystem, programs: RootPrograms): void {
  const writer = new TreeWriter(filesystem, filesystem.root);
  writer.directoryAt(writer.place(PROGRAMS_PLACE));
  // An init without the agent would not be heard of: where there is no room, the kernel has none and panics.
  for (const [name, bytes] of [
    ['agent', programs.agent],
    ['init', programs.init],
  ] as const) {
    writer.file(writer.place(`${PROGRAMS_PLACE}/${name}`), { mode: S_IFREG | 0o755, uid: 0, gid: 0 }, bytes);
  }
}
