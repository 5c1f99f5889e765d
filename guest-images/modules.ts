import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { glob } from './files.ts';

/** Loaded by init, in this order: what a mount of virtio-fs or 9p needs. */
export const BOOT_MODULES = [
  'virtio',
  'virtio_ring',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'fuse',
  'virtiofs',
  'netfs',
  'fscache',
  '9pnet',
  '9pnet_virtio',
  '9p',
];

/** Loaded besides, before something else than our init becomes process 1 of a root filesystem: what systemd needs. */
export const SERVICE_MODULES = ['autofs4', 'binfmt_misc'];

/** There for `modprobe`. */
const OPTIONAL_MODULES = ['overlay', 'loop', 'crc32c_generic', 'libcrc32c'];

export interface KernelModule {
  name: string;
  /** The names it was built in as, and the aliases `modprobe` finds it by. */
  aliases: string[];
  depends: string[];
  content: Buffer;
}

/** The modules named above that are below `directory`, boot modules first and in order. A kernel may have some built in. */
export async function readModules(directory: string): Promise<KernelModule[]> {
  const wanted = [...BOOT_MODULES, ...SERVICE_MODULES, ...OPTIONAL_MODULES];
  const found = new Map<string, KernelModule>();
  for (const path of await glob(directory, /\.ko$/)) {
    const name = basename(path, '.ko').replaceAll('-', '_');
    if (!wanted.includes(name)) continue;
    const content = await readFile(path);
    const info = modinfo(content);
    found.set(name, {
      name,
      aliases: info.get('alias') ?? [],
      depends: (info.get('depends') ?? [])
        .flatMap((names) => names.split(','))
        .filter(Boolean)
        .map((depends) => depends.replaceAll('-', '_')),
      content,
    });
  }
  return wanted.flatMap((name) => found.get(name) ?? []);
}

/** The .modinfo section: `key=value` strings, each NUL-terminated. */
export function modinfo(module: Buffer): Map<string, string[]> {
  const section = elfSection(module, '.modinfo');
  const info = new Map<string, string[]>();
  for (const line of section.toString('latin1').split('\0')) {
    const [key, ...value] = line.split('=');
    if (key && value.length) info.set(key, [...(info.get(key) ?? []), value.join('=')]);
  }
  return info;
}

function elfSection(file: Buffer, name: string): Buffer {
  const tableOffset = file.readUInt32LE(0x20);
  const entrySize = file.readUInt16LE(0x2e);
  const count = file.readUInt16LE(0x30);
  const header = (index: number) => {
    const at = tableOffset + index * entrySize;
    return { name: file.readUInt32LE(at), offset: file.readUInt32LE(at + 16), size: file.readUInt32LE(at + 20) };
  };
  const names = header(file.readUInt16LE(0x32));
  for (let index = 0; index < count; index++) {
    const section = header(index);
    const start = names.offset + section.name;
    if (file.toString('latin1', start, start + name.length + 1) === `${name}\0`) {
      return file.subarray(section.offset, section.offset + section.size);
    }
  }
  return Buffer.alloc(0);
}
