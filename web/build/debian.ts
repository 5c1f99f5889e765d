import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, link, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { S_IFREG } from '../../device/fs/constants.ts';
import { buildImage } from '../../device/image/build.ts';
import { LAYER_VERSION } from '../../device/snapshot/layer.ts';
import { TreeWriter } from '../../device/trees/tree-writer.ts';
import { ensureGuestImage, GuestImageError, type GuestImageOptions } from '../../guest-images/build.ts';
import { ensureDebianRoot } from '../../guest-images/debian-root.ts';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { readCpio } from '../../guest-images/read-cpio.ts';
import { onTerminal } from '../../guest-images/terminal.ts';
import { nodeFlate } from '../../harness/node/images/node-flate.ts';
import { loadSource } from '../../harness/node/shares/load-source.ts';
import { writeFileWhole } from '../../harness/node/stores/whole-file.ts';
import type { GuestManifest } from '../protocol/manifest.ts';
import { Estimate } from './estimate.ts';
import { offerBoth } from './offer.ts';
import { guestOptions } from './options.ts';
import { buildPageGuest } from './page-guest.ts';
import { PREBUILT, takePrebuilt } from './prebuilt.ts';

/** What people look for first when they sit in front of a Debian. */
const PACKAGES = ['curl', 'gcc', 'git', 'libc6-dev', 'make', 'nano', 'python3', 'sqlite3', 'strace', 'tmux', 'vim'];
const HELPERS = ['crowd', 'locker', 'vfsbench'];
const IMAGE = 'debian.image';
/** MiB: enough for gcc. */
const MEMORY = 192;
const PAGE = fileURLToPath(new URL('../../dist/page', import.meta.url));

/** Parts of the whole, by the time that they take. */
const [FETCHED, LOADED, PACKED] = [0.5, 0.6, 0.95];

/** Programs of the guest's own that lessons and the text in the shared folder speak of, by their names. */
async function helpers(): Promise<Map<string, Uint8Array>> {
  const { plainInitrd } = await ensureGuestImage();
  const programs = new Map<string, Uint8Array>();
  for (const { path, content } of readCpio(await readFile(plainInitrd))) {
    const name = basename(path);
    if (HELPERS.includes(name)) programs.set(name, content);
  }
  return programs;
}

/** Makes the image of the page's Debian in a directory, in place of what is there; or takes it from the cache. */
async function putImage(directory: string, estimate: Estimate): Promise<void> {
  const tar = await ensureDebianRoot({ packages: PACKAGES, onProgress: estimate.part(0, FETCHED) });
  const programs = await helpers();
  const hash = createHash('sha256').update(`${LAYER_VERSION}`);
  for (const bytes of programs.values()) hash.update(bytes);
  const cached = join(writableCacheDirectory(), `${basename(tar, '.tar')}-image-${hash.digest('hex').slice(0, 8)}`);
  if (!existsSync(cached)) {
    const work = `${cached}.${process.pid}`;
    await mkdir(work, { recursive: true });
    try {
      await buildDebianImage(tar, programs, work, estimate);
      await rename(work, cached).catch((error: Error) => {
        // Another process was faster.
        if (!existsSync(cached)) throw error;
      });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory))
    if (/\.(image|pack)$/.test(name)) await rm(join(directory, name), { force: true });
  for (const name of await readdir(cached)) {
    const [from, to] = [join(cached, name), join(directory, name)];
    // On another disk it takes a copy.
    await link(from, to).catch(() => copyFile(from, to));
  }
}

async function buildDebianImage(
  tar: string,
  programs: ReadonlyMap<string, Uint8Array>,
  directory: string,
  estimate: Estimate,
): Promise<void> {
  const loading = estimate.part(FETCHED, LOADED);
  loading('unpacking Debian');
  const { filesystem, report } = await loadSource(tar, undefined, (files) =>
    loading('unpacking Debian', files / 15_000),
  );
  const writer = new TreeWriter(filesystem, filesystem.root);
  for (const [name, bytes] of programs)
    writer.file(writer.place(`usr/local/bin/${name}`), { mode: S_IFREG | 0o755, uid: 0, gid: 0 }, bytes);
  const packing = estimate.part(LOADED, PACKED);
  await buildImage(filesystem, { write: (name, parts) => writeFileWhole(join(directory, name), parts) }, IMAGE, {
    name: 'debian',
    flate: nodeFlate,
    onProgress: (_, bytes) => packing('compressing Debian', bytes / report.bytes),
  });
}

/** Builds the page's Debian below the page. */
async function buildDebian(
  page: string,
  options: Required<Pick<GuestImageOptions, 'kernel' | 'driver'>>,
  onProgress: (message: string) => void,
): Promise<GuestManifest> {
  const directory = join(page, 'debian');
  const estimate = new Estimate(onProgress);
  await putImage(directory, estimate);
  const manifest = await buildPageGuest(directory, {
    ...options,
    memory: MEMORY,
    image: IMAGE,
    onProgress: estimate.part(PACKED, 1),
  });
  await offerBoth(page);
  return manifest;
}

const options = guestOptions('build:debian');

await onTerminal("the page's Debian:", async (onProgress) => {
  if (!existsSync(join(PAGE, 'index.html')))
    throw new GuestImageError('There is no page yet for Debian to be in: run `npm run build:page` first.');
  const prebuilt = process.env[PREBUILT];
  if (prebuilt) {
    await takePrebuilt(prebuilt, 'debian', join(PAGE, 'debian'), onProgress);
    await offerBoth(PAGE);
    return `taken from ${prebuilt}`;
  }
  const { snapshot } = await buildDebian(PAGE, options, onProgress).catch((error: Error) => {
    if (error instanceof GuestImageError)
      error.message += `\nThe page without Debian: npm run build:page && npm run serve. Or take guests that were built before: ${PREBUILT}, see docs/environment.md`;
    throw error;
  });
  return `${(snapshot.size / 1e6).toFixed(1)} MB to download`;
});
