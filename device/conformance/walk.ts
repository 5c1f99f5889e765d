import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../fs/constants.ts';
import { type Client, isDots, type Listed } from './client.ts';
import { type Attr, quote, terminated } from './words.ts';

/** What is looked at of a tree that may be large: so many inodes, so much of each directory and file. */
const MAX_INODES = 300;
const MAX_ENTRIES = 200;
const MAX_BYTES = 1 << 18;
export const WHOLE = 65_536;

/** An inode of a tree, by the path on which it was found. */
export interface Found {
  path: string;
  nodeid: number;
  attr: Attr;
  parent: number;
}

/** What is there below the directory in which the client's paths begin, that first. */
export async function walk(client: Client): Promise<Found[]> {
  const found: Found[] = [{ path: '.', nodeid: client.top, attr: await client.attr(client.top), parent: client.top }];
  for (const { path, nodeid, attr } of found) {
    if (!isA(attr, S_IFDIR)) continue;
    for (const { name } of await listAll(client, nodeid)) {
      if (found.length >= MAX_INODES) return found;
      const { out } = await client.ask('LOOKUP', nodeid, terminated(name));
      found.push({
        path: `${path}/${quote(name).slice(1, -1)}`,
        nodeid: out.nodeid,
        attr: await client.attr(out.nodeid),
        parent: nodeid,
      });
    }
  }
  return found;
}

export function isA(attr: Attr, type: number): boolean {
  return (attr.mode & S_IFMT) === type;
}

export const directoriesOf = (found: Found[]) => found.filter(({ attr }) => isA(attr, S_IFDIR));
export const filesOf = (found: Found[]) => found.filter(({ attr }) => isA(attr, S_IFREG));
export const linksOf = (found: Found[]) => found.filter(({ attr }) => isA(attr, S_IFLNK));

/** Opens a directory for as long as `use` takes. */
export async function withDirectory<T>(client: Client, nodeid: number, use: (fh: number) => Promise<T>): Promise<T> {
  const { fh } = (await client.ask('OPENDIR', nodeid)).out;
  try {
    return await use(fh);
  } finally {
    await client.ask('RELEASEDIR', nodeid, { fh });
  }
}

/** The entries of a directory, without "." and "..". */
export async function listAll(client: Client, nodeid: number, size = WHOLE, plus = false): Promise<Listed[]> {
  return (await listWhole(client, nodeid, size, plus)).filter((entry) => !isDots(entry));
}

/** The entries of a directory. */
export async function listWhole(client: Client, nodeid: number, size = WHOLE, plus = false): Promise<Listed[]> {
  return withDirectory(client, nodeid, async (fh) => {
    const entries: Listed[] = [];
    for (let cookie = 0; entries.length < MAX_ENTRIES; ) {
      const part = await client.list(nodeid, fh, cookie, size, plus);
      if (!part.length) break;
      cookie = part.at(-1)!.cookie;
      entries.push(...part);
    }
    return entries.slice(0, MAX_ENTRIES);
  });
}

/** The first bytes of a file, asked for in pieces. */
export async function readAll(client: Client, nodeid: number, piece: number): Promise<Uint8Array> {
  const { fh } = (await client.ask('OPEN', nodeid, { flags: 0 })).out;
  const bytes = new Uint8Array(MAX_BYTES);
  let at = 0;
  try {
    while (at < MAX_BYTES) {
      const size = Math.min(piece, MAX_BYTES - at);
      const part = (await client.ask('READ', nodeid, { fh, offset: at, size })).bytes;
      bytes.set(part, at);
      at += part.length;
      if (part.length < size) break;
    }
  } finally {
    await client.ask('RELEASE', nodeid, { fh });
  }
  return bytes.subarray(0, at);
}

/** How much {@link readAll} gets of a file of this size. */
export function readable(size: number): number {
  return Math.min(size, MAX_BYTES);
}
