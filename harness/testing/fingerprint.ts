import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { packageVersion } from '../../guest-images/paths.ts';
import { holdingImages } from '../node/images/image-leases.ts';
import { imageLocation } from '../node/images/share-image.ts';
import { makePlan } from '../node/plan.ts';
import type { VmOptions } from '../node/vm-options.ts';

/** Raised when what is made of the same options is another machine. */
const VERSION = 1;

/** What a base machine is made of, in short: another text where it would be another one. */
export async function fingerprintOf(options: VmOptions, more: readonly string[]): Promise<string> {
  const { origin, config, cmdline } = await holdingImages((images) => makePlan(options, images));
  const root = typeof options.root === 'string' ? { source: options.root } : options.root;
  const hash = createHash('sha256');
  const clock = typeof options.clock === 'function' ? String(options.clock) : options.clock;
  const say = (value: unknown) => hash.update(`${JSON.stringify(value)}\n`);
  say([VERSION, packageVersion(), origin, config, cmdline, options.v86, root, options.shares, clock, more]);
  // Of images the configuration has what is in them.
  for (const { source, live } of [...(options.shares ?? []), ...(root ? [{ ...root, live: false }] : [])])
    if (source !== undefined && !live && imageLocation(source) === undefined) await addEntry(hash, source, '');
  return hash.digest('hex').slice(0, 24);
}

/** A directory or file, without its times: a checkout has others each time. */
async function addEntry(hash: Hash, path: string, name: string): Promise<void> {
  const found = await lstat(path);
  hash.update(`${JSON.stringify([name, found.mode])}\n`);
  if (found.isSymbolicLink() && name) hash.update(`${await readlink(path)}\n`);
  else if (found.isDirectory() || (found.isSymbolicLink() && !name)) {
    const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOTDIR') return undefined;
      throw error;
    });
    if (!names) await addContent(hash, path);
    else for (const child of names.sort()) await addEntry(hash, join(path, child), `${name}/${child}`);
  } else if (found.isFile()) {
    hash.update(`${found.size}\n`);
    await addContent(hash, path);
  }
}

/** A file that can't be read is not taken into the share either. */
async function addContent(hash: Hash, path: string): Promise<void> {
  await pipeline(createReadStream(path), async (parts) => {
    for await (const part of parts) hash.update(part as Buffer);
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EACCES') throw error;
  });
}
