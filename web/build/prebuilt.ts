import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { GuestImageError } from '../../guest-images/errors.ts';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { GUEST_VERSION, type GuestManifest, type PackedFile } from '../protocol/manifest.ts';

const run = promisify(execFile);

/** Names where guests are that were built before: a directory, or a .tar file or URL. */
export const PREBUILT = 'V86_VIRTIOFS_PAGE_GUESTS';
const HASH = /^(.*?)#sha256=([0-9a-f]{64})$/;

type Progress = (message: string) => void;

/**
 * Puts a guest that was built before into a directory, in place of what is there. `location`: a directory in which guests are by their names, or a .tar
 * file of such a one, or its URL; `#sha256=HEX` after it, or a file of the same name with .sha256 beside it, says what it has to be. What is in it
 * is compared with its hashes.
 *
 * @throws GuestImageError that says what is wrong.
 */
export async function takePrebuilt(
  location: string,
  name: string,
  directory: string,
  onProgress: Progress,
): Promise<void> {
  const [, place = location, hash] = HASH.exec(location) ?? [];
  if ((await stat(place).catch(() => undefined))?.isDirectory()) return put(join(place, name), directory, place);
  const tar = /^https?:/.test(place) ? await fetchTar(place, hash, onProgress) : await checkTar(place, hash);
  const work = await mkdtemp(join(tmpdir(), 'page-guests-'));
  try {
    onProgress(`unpacking ${name}`);
    await run('tar', ['-xf', tar, '-C', work, name]).catch((error: Error) => {
      throw new GuestImageError(`${place} has no guest ${name}: ${error.message}`, { cause: error });
    });
    await put(join(work, name), directory, place);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Copies a guest that is sound. */
async function put(from: string, directory: string, place: string): Promise<void> {
  await checkGuest(from, place);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await cp(from, directory, { recursive: true, verbatimSymlinks: true });
}

/** Its files have the names of what is in them; those of its image are compared when they are read. */
async function checkGuest(directory: string, place: string): Promise<void> {
  const text = await readFile(join(directory, 'guest.json'), 'utf8').catch(() => undefined);
  if (text === undefined)
    throw new GuestImageError(`${place} has no such guest: ${join(directory, 'guest.json')} is missing`);
  const { version, snapshot, boot, rootBoot, root } = JSON.parse(text) as GuestManifest;
  if (version !== GUEST_VERSION)
    throw new GuestImageError(
      `The guest in ${place} is of version ${version}, and this page takes version ${GUEST_VERSION}: take one of this release, or build it`,
    );
  const { initrd, ...others } = rootBoot;
  const files: PackedFile[] = [snapshot, ...Object.values(boot), ...Object.values(others), ...(initrd ? [initrd] : [])];
  for (const { file } of files) {
    const [, wanted] = /^guest-([0-9a-f]{16})\.[a-z]+\.bin$/.exec(file) ?? [];
    const bytes = await readFile(join(directory, file)).catch(() => undefined);
    if (!bytes || !wanted || createHash('sha256').update(bytes).digest('hex').slice(0, 16) !== wanted)
      throw new GuestImageError(`${file} in ${place} is ${bytes ? 'damaged' : 'missing'}: fetch it again`);
  }
  if (root && !existsSync(join(directory, root.image)))
    throw new GuestImageError(`${root.image} in ${place} is missing: fetch it again`);
}

async function checkTar(path: string, hash: string | undefined): Promise<string> {
  const wanted = hash ?? hashIn(await readFile(`${path}.sha256`, 'utf8').catch(() => ''), path);
  const sum = createHash('sha256');
  try {
    await pipeline(createReadStream(path), sum);
  } catch (error) {
    throw new GuestImageError(`${path} can't be read: ${(error as Error).message}`, { cause: error });
  }
  if (sum.digest('hex') !== wanted) throw wrong(path);
  return path;
}

async function fetchTar(url: string, hash: string | undefined, onProgress: Progress): Promise<string> {
  const wanted = hash ?? hashIn(await (await get(`${url}.sha256`)).text(), url);
  const path = join(writableCacheDirectory(), `page-guests-${wanted.slice(0, 24)}.tar`);
  if (existsSync(path)) return path;
  const response = await get(url);
  const total = Number(response.headers.get('content-length') ?? 0);
  const sum = createHash('sha256');
  let done = 0;
  const measure = new Transform({
    transform(bytes: Buffer, _, next) {
      sum.update(bytes);
      done += bytes.length;
      onProgress(`fetching ${url}: ${(done / 1e6).toFixed(0)}${total ? ` of ${(total / 1e6).toFixed(0)}` : ''} MB`);
      next(null, bytes);
    },
  });
  const unfinished = `${path}.${process.pid}`;
  try {
    await pipeline(response.body!, measure, createWriteStream(unfinished));
    if (sum.digest('hex') !== wanted) throw wrong(url);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    if (error instanceof GuestImageError) throw error;
    throw new GuestImageError(`${url} can't be fetched: ${(error as Error).message}`, { cause: error });
  }
  return path;
}

async function get(url: string): Promise<Response> {
  const response = await fetch(url).catch((error: Error) => {
    throw new GuestImageError(`${url} can't be fetched: ${error.message}`, { cause: error });
  });
  if (response.ok) return response;
  throw new GuestImageError(`${url} can't be fetched: the server answers ${response.status} ${response.statusText}`);
}

/** As sha256sum writes it. */
function hashIn(text: string, place: string): string {
  const [hash] = /^[0-9a-f]{64}\b/.exec(text) ?? [];
  if (hash) return hash;
  throw new GuestImageError(
    `What is in ${place} is not taken without its hash: put ${place}.sha256 beside it, or write #sha256=… after its name`,
  );
}

function wrong(place: string): GuestImageError {
  return new GuestImageError(`${place} is not what its hash says: fetch it again, or find out who has changed it`);
}
