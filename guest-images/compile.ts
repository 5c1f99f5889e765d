import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const SHT_REL = 9;
const R_386_PC32 = 2;
const R_386_PLT32 = 4;

/** tcc for i386 and musl as a static C library, out of packages unpacked below one directory. */
export class Compiler {
  readonly #tcc: string;
  readonly #args: string[];
  readonly #start: string[];
  readonly #end: string[];

  private constructor(tcc: string, args: string[], start: string[], end: string[]) {
    this.#tcc = tcc;
    this.#args = args;
    this.#start = start;
    this.#end = end;
  }

  /** `root`: where the packages tcc and musl-dev:i386 are unpacked. `work`: for the linker's libraries. */
  static async create(root: string, work: string): Promise<Compiler> {
    const tcc = firstExisting(join(root, 'usr/bin/i386-tcc'), join(root, 'usr/bin/tcc'));
    const tccLibrary = await findTccLibrary(root);
    const musl = join(root, 'usr/lib/i386-linux-musl');
    await mkdir(work, { recursive: true });
    const staticObject = async (name: string) => {
      const object = await readFile(join(musl, name));
      withoutPlt(object);
      const path = join(work, name);
      await writeFile(path, object);
      return path;
    };
    const [crt1, crti, crtn, libc] = (await Promise.all(
      ['crt1.o', 'crti.o', 'crtn.o', 'libc.a'].map(staticObject),
    )) as [string, string, string, string];
    const args = [
      `-B${tccLibrary}`,
      '-nostdinc',
      '-nostdlib',
      '-static',
      '-Wall',
      '-Werror',
      '-isystem',
      join(root, 'usr/include/i386-linux-musl'),
      '-isystem',
      join(tccLibrary, 'include'),
    ];
    const runtime = firstExisting(join(tccLibrary, 'i386-libtcc1.a'), join(tccLibrary, 'libtcc1.a'));
    return new Compiler(tcc, args, [crt1, crti], [libc, runtime, crtn]);
  }

  /** Makes a static program for the guest. Rejects with the compiler's messages. */
  async compile(sources: string[], program: string): Promise<void> {
    await run(this.#tcc, [...this.#args, '-o', program, ...this.#start, ...sources, ...this.#end]);
  }
}

async function findTccLibrary(root: string): Promise<string> {
  const names = await readdir(join(root, 'usr/lib'));
  return firstExisting(...names.map((name) => join(root, 'usr/lib', name, 'tcc')), join(root, 'usr/lib/tcc'));
}

function firstExisting(...paths: string[]): string {
  const found = paths.find((path) => existsSync(path));
  if (!found) throw new Error(`none of ${paths.join(', ')} exists`);
  return found;
}

/**
 * Makes an archive of objects, or one object, fit for tcc's static linker, in place. tcc gives
 * each call by R_386_PLT32 an entry in a procedure linkage table that it then fails to relocate;
 * in a static program such a call is one by R_386_PC32.
 */
function withoutPlt(file: Buffer): void {
  if (file.toString('latin1', 0, 8) !== '!<arch>\n') {
    objectWithoutPlt(file);
    return;
  }
  const HEADER_SIZE = 60;
  for (let offset = 8; offset < file.length; ) {
    const size = Number(file.toString('latin1', offset + 48, offset + 58));
    objectWithoutPlt(file.subarray(offset + HEADER_SIZE, offset + HEADER_SIZE + size));
    offset += HEADER_SIZE + size + (size & 1);
  }
}

function objectWithoutPlt(object: Buffer): void {
  if (object.toString('latin1', 0, 4) !== '\x7fELF') return;
  const tableOffset = object.readUInt32LE(0x20);
  const entrySize = object.readUInt16LE(0x2e);
  const count = object.readUInt16LE(0x30);
  for (let index = 0; index < count; index++) {
    const section = tableOffset + index * entrySize;
    if (object.readUInt32LE(section + 4) !== SHT_REL) continue;
    const offset = object.readUInt32LE(section + 16);
    const end = offset + object.readUInt32LE(section + 20);
    for (let type = offset + 4; type < end; type += 8) {
      if (object[type] === R_386_PLT32) object[type] = R_386_PC32;
    }
  }
}
