import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BytesSink } from '../../device/bytes.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { whenHere } from '../../device/fs/not-yet.ts';
import type { MemoryFileSystem } from '../../device/index.ts';
import { assemble } from '../machine/assemble.ts';
import { kernelCmdline } from '../machine/boot/cmdline.ts';
import { resolveImage } from '../node/image.ts';
import { makePlan } from '../node/plan.ts';
import { compileV86 } from '../node/v86.ts';
import { Vm } from '../node/vm.ts';

/** Of the list of files that v86 reads. */
const LIST_VERSION = 3;
const LIST = 'list.json';
const PROGRAMS = ['init', 'agent'] as const;
const EPERM = -1;
const CMDLINE =
  'rootfstype=9p root=host9p rootflags=trans=virtio,version=9p2000.L,cache=loose,msize=512000 rw init=/.v86-virtiofs/init';

/** A file, directory or link, as v86's list has it. */
type Entry = [
  name: string,
  size: number,
  mtime: number,
  mode: number,
  uid: number,
  gid: number,
  rest?: string | Entry[],
];

/** Writes what is in a filesystem as v86's own tools do: a list, and whole files named by 8 digits of their hash. What a boot takes is added. Returns MD5s of files, by path. */
export async function writeNinepTree(
  filesystem: MemoryFileSystem,
  directory: string,
  kernel: string,
): Promise<Map<string, string>> {
  const sums = new Map<string, string>();
  await mkdir(directory, { recursive: true });
  const put = async (bytes: Uint8Array): Promise<string> => {
    const name = `${createHash('sha256').update(bytes).digest('hex').slice(0, 8)}.bin`;
    await writeFile(join(directory, name), bytes);
    return name;
  };
  let size = 0;
  const entriesOf = async (dir: Inode, path: string): Promise<Entry[]> => {
    const entries: Entry[] = [];
    for (const { name, inode } of filesystem.entries(dir)) {
      const { mode, uid, gid, target } = inode;
      const entry: Entry = [name, inode.size, inode.mtime.sec, mode, uid, gid];
      if (inode.isDirectory) entry.push(await entriesOf(inode, `${path}/${name}`));
      else if (target !== undefined) entry.push(target);
      else if (inode.isRegular) {
        const bytes = new Uint8Array(inode.size);
        if (bytes.length) await whenHere(() => filesystem.read(inode, 0, bytes.length, new BytesSink(bytes), 0, true));
        sums.set(`${path}/${name}`, createHash('md5').update(bytes).digest('hex'));
        const file = await put(bytes);
        entry.push(file);
        size += bytes.length;
      }
      entries.push(entry);
    }
    return entries;
  };
  const root = await entriesOf(filesystem.root, '');
  const image = await resolveImage({ kernel, driver: 'stock', hasRoot: true });
  const programs: Entry[] = [];
  for (const name of PROGRAMS) {
    const bytes = await readFile(image[name]!);
    programs.push([name, bytes.length, 0, 0o100755, 0, 0, await put(bytes)]);
  }
  root.push(['.v86-virtiofs', 0, 0, 0o040755, 0, 0, programs]);
  await writeFile(join(directory, LIST), JSON.stringify({ fsroot: root, version: LIST_VERSION, size }));
  return sums;
}

/** Of v86's 9p. */
interface Ninep {
  storage: {
    load_from_server(name: string): Promise<Uint8Array>;
    cache(name: string, bytes: Uint8Array): Promise<void>;
  };
  Unlink(parent: number, name: string): number;
}

/** A guest that has its root on v86's own 9p, with files of a server. `work`: a directory for a file in between. */
export async function bootFromNinep(base: URL, work: string, kernel: string, memory: number): Promise<Vm> {
  const list = join(work, LIST);
  await writeFile(list, new Uint8Array(await (await fetch(new URL(LIST, base))).arrayBuffer()));
  const { config } = await makePlan({ kernel, driver: 'stock', memory });
  const { vmlinux } = await resolveImage({ kernel, driver: 'stock', hasRoot: true });
  const parts = await assemble({
    config,
    wasm: await compileV86(),
    makeShares: () => [],
    v86: { filesystem: { basefs: list, baseurl: work } },
  });
  const vm = new Vm(parts);
  const { fs9p } = vm.emulator as unknown as { fs9p: Ninep };
  const { storage } = fs9p;
  // In Node it would read files of this computer; here it asks a server, as in a page.
  storage.load_from_server = async (name) => {
    const bytes = new Uint8Array(await (await fetch(new URL(name, base))).arrayBuffer());
    await storage.cache(name, bytes);
    return bytes;
  };
  // A program that runs has no content there once it is removed.
  const unlink = fs9p.Unlink.bind(fs9p);
  fs9p.Unlink = (parent, name) => ((PROGRAMS as readonly string[]).includes(name) ? EPERM : unlink(parent, name));
  return vm.orStop(async () => {
    await vm.boot({ vmlinux: await readFile(vmlinux!) }, { cmdline: kernelCmdline(CMDLINE) });
    return vm;
  });
}
