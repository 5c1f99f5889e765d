import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BytesSource } from '../../device/bytes.ts';
import { buildImage } from '../../device/image/build.ts';
import { MemoryFileSystem } from '../../device/index.ts';
import { nodeFlate } from '../../harness/node/images/node-flate.ts';
import { loadingHostTree } from '../../harness/node/shares/host-tree.ts';
import { inSlices } from '../../harness/node/shares/slices.ts';
import { writeFileWhole } from '../../harness/node/stores/whole-file.ts';
import { buildPageGuest } from '../../web/build/page-guest.ts';
import { pageListener } from '../../web/build/serve.ts';
import type { GuestManifest } from '../../web/protocol/manifest.ts';
import { makeSmallRoot } from '../support/small-root.ts';

/** Bytes of a file in the root that nobody needs to boot, and what it has. */
const LARGE = 3 << 20;
export const largeFile = () => new Uint8Array(LARGE).map((_, n) => Math.imul(n, 2654435761) >>> 13);

/** A page's guest with its root on an image of a few MB, in a directory of its own. */
export interface RootGuest {
  directory: string;
  manifest: GuestManifest;
  serve: RequestListener;
  remove(): Promise<void>;
}

export async function makeRootGuest(): Promise<RootGuest> {
  const directory = await mkdtemp(join(tmpdir(), 'page-root-'));
  const [root, guest] = [join(directory, 'root'), join(directory, 'debian')];
  await makeSmallRoot(root);
  const files = new MemoryFileSystem();
  await inSlices(loadingHostTree(root, files));
  for (const [name, bytes] of [
    ['large', largeFile()],
    ['small', new TextEncoder().encode('a small file\n')],
  ] as const) {
    const inode = files.mknod(files.root, name, { mode: 0o100644, uid: 0, gid: 0 });
    files.write(inode, 0, bytes.length, new BytesSource(bytes));
  }
  const write = (name: string, parts: readonly Uint8Array[]) => writeFileWhole(join(guest, name), parts);
  await mkdir(guest);
  await buildImage(files, { write }, 'root.image', { flate: nodeFlate, packSize: 1 << 20 });
  const manifest = await buildPageGuest(guest, {
    kernel: 'minimal',
    driver: 'fast',
    memory: 128,
    image: 'root.image',
    onProgress: () => {},
  });
  return {
    directory: guest,
    manifest,
    serve: await pageListener(directory),
    remove: () => rm(directory, { recursive: true }),
  };
}
