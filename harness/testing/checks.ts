import { posix } from 'node:path';
import { locksOf } from '../../device/fs/shared.ts';
import type { MemoryFileSystem } from '../../device/index.ts';
import type { ExecResult } from '../machine/agent/guest-agent.ts';
import { VmError } from '../machine/errors.ts';
import { printable, printableLines } from '../machine/printable.ts';
import type { Share } from '../machine/share.ts';
import type { Vm } from '../node/vm.ts';

/** What came of looking. */
export interface Finding {
  isTrue: boolean;
  /** What was found, for people. */
  found: string;
  /** For runners that show the difference. */
  actual?: unknown;
  expected?: unknown;
}

/** One thing that can be expected: all matchers are made of these. */
export interface Check<S = never, A extends unknown[] = never> {
  /** Of vitest and jest. */
  matcher: string;
  /** Of chai, after `to.have`. */
  property: string;
  /** What is expected of whom: `NOUN to have WHAT`. */
  noun: string;
  what(...args: A): string;
  look(subject: S, ...args: A): Finding | Promise<Finding>;
}

type Output = Pick<ExecResult, 'stdout' | 'stderr' | 'code'>;

/** Characters of output that an error shows. */
const SHOWN = 2000;
/**
 * What the kernel begins a report of its own failure with: `WARN`, `BUG`, `Oops`, lockdep, RCU stalls, hung tasks, sanitizers.
 * "BUG:" and "WARNING:" alone are too few: KASAN, UBSAN and the out-of-memory killer have words of their own.
 */
const TROUBLE =
  /\bWARNING: |\bBUG\b: |kernel BUG at|\bOops\b: |Kernel panic|general protection fault|\bUBSAN: |\bKASAN: |\bKCSAN: |INFO: task .* blocked|INFO: rcu_|rcu: INFO:|possible recursive locking|Out of memory: |refcount_t: |unable to handle/;

export const CHECKS = {
  exitCode: {
    matcher: 'toHaveExitCode',
    property: 'exitCode',
    noun: 'the command',
    what: (code: number) => `the exit code ${code}`,
    look: ({ code, stdout, stderr }: Output, wanted: number): Finding => ({
      isTrue: code === wanted,
      found: `it has ended with ${code}, and has written\n${shown(stdout + stderr)}`,
      actual: code,
      expected: wanted,
    }),
  },
  output: {
    matcher: 'toHaveOutput',
    property: 'output',
    noun: 'the command',
    what: (wanted: string | RegExp) =>
      `the output ${wanted instanceof RegExp ? String(wanted) : JSON.stringify(wanted)}`,
    look: ({ code, stdout, stderr }: Output, wanted: string | RegExp): Finding => ({
      isTrue: agrees(stdout, wanted),
      found: `its stdout is\n${shown(stdout)}${stderr && `\nits stderr is\n${shown(stderr)}`}${code ? `\nand its exit code ${code}` : ''}`,
      actual: stdout,
      expected: wanted,
    }),
  },
  file: {
    matcher: 'toHaveFile',
    property: 'file',
    noun: 'the share',
    what: (path: string, content?: string | RegExp | Uint8Array) =>
      `the file ${path}${content === undefined ? '' : content instanceof Uint8Array ? ` with ${content.length} bytes` : ` with ${content instanceof RegExp ? String(content) : JSON.stringify(content)}`}`,
    look: (share: Share, path: string, content?: string | RegExp | Uint8Array): Finding => {
      const { files } = share;
      const inode = inodeAt(files, path);
      if (!inode) return { isTrue: false, found: `it has no ${printable(path)}, but ${listing(share, path)}` };
      if (content === undefined) return { isTrue: true, found: 'it is there' };
      if (inode.isDirectory) return { isTrue: false, found: 'that is a directory' };
      const bytes = share.fs.readFileSync(posix.resolve('/', path)) as Uint8Array;
      if (content instanceof Uint8Array)
        return {
          isTrue: bytes.length === content.length && content.every((byte, at) => byte === bytes[at]),
          found: `it has ${bytes.length} bytes, which differ`,
        };
      const text = new TextDecoder().decode(bytes);
      return { isTrue: agrees(text, content), found: `it contains\n${shown(text)}`, actual: text, expected: content };
    },
  },
  open: {
    matcher: 'toHaveOpen',
    property: 'open',
    noun: "the share's guest",
    what: (path: string) => `${path} open`,
    look: (share: Share, path: string): Finding => {
      const ino = inodeAt(share.files, path)?.ino;
      const open = share.device.session.state().handles.handles;
      return {
        isTrue: ino !== undefined && open.some((handle) => handle.ino === ino),
        found:
          ino === undefined ? `there is no ${printable(path)}` : `it has ${open.length} files and directories open`,
      };
    },
  },
  lockOn: {
    matcher: 'toHaveLockOn',
    property: 'lockOn',
    noun: "the share's guest",
    what: (path: string) => `a lock on ${path}`,
    look: (share: Share, path: string): Finding => {
      const ino = inodeAt(share.files, path)?.ino;
      const { session } = share.device;
      const held = [...locksOf(share.files).locks()].filter((lock) => lock.session === session.id);
      return {
        isTrue: ino !== undefined && held.some((lock) => lock.ino === ino),
        found:
          ino === undefined
            ? `there is no ${printable(path)}`
            : `it has ${held.length} locks here, and keeps others to itself unless the share has \`locks: 'shared'\``,
      };
    },
  },
  kernelLog: {
    matcher: 'toHaveCleanKernelLog',
    property: 'cleanKernelLog',
    noun: 'the guest',
    what: () => 'a kernel log without warnings, bugs and oopses',
    look: async (vm: Vm): Promise<Finding> => {
      const lines = vm.life.isOff ? vm.console.lines : (await kernelLog(vm)).split('\n');
      const at = lines.findIndex((line) => TROUBLE.test(line));
      return {
        isTrue: at < 0 && !vm.life.isOff,
        found:
          at < 0
            ? vm.life.isOff
              ? 'it has crashed or halted'
              : 'it has none'
            : `it says\n${lines
                .slice(at, at + 12)
                .map(printable)
                .join('\n')}`,
      };
    },
  },
} satisfies Record<string, Check<never, never>>;

async function kernelLog(vm: Vm): Promise<string> {
  const { stdout, stderr, code } = await vm.exec(['dmesg']);
  if (code) throw new VmError('guest', `the guest does not give its kernel's log: ${stderr.trim()}`);
  return stdout;
}

function agrees(text: string, wanted: string | RegExp): boolean {
  return typeof wanted === 'string'
    ? text === wanted
    : new RegExp(wanted.source, wanted.flags.replace(/[gy]/g, '')).test(text);
}

function shown(text: string): string {
  const printed = printableLines(text);
  return printed.length > SHOWN ? `…${printed.slice(-SHOWN)}` : printed || '(nothing)';
}

function inodeAt(files: MemoryFileSystem, path: string) {
  let inode: MemoryFileSystem['root'] | undefined = files.root;
  for (const name of path.split('/').filter(Boolean))
    inode = inode?.isDirectory ? files.lookup(inode, name) : undefined;
  return inode;
}

/** What is in the deepest directory of a path that is there. */
function listing({ files }: Share, path: string): string {
  let dir: MemoryFileSystem['root'] = files.root;
  let at = '/';
  for (const name of path.split('/').filter(Boolean)) {
    const next: typeof dir | undefined = files.lookup(dir, name);
    if (!next?.isDirectory) break;
    [dir, at] = [next, `${at}${name}/`];
  }
  const names = files.entries(dir).map(({ name }) => printable(name));
  return `in ${printable(at)} there is ${names.slice(0, 20).join(', ') || 'nothing'}${names.length > 20 ? ` and ${names.length - 20} more` : ''}`;
}
