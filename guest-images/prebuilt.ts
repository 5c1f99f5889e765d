import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';
import { GuestImageError } from './errors.ts';
import { sha256 } from './files.ts';
import { writableCacheDirectory } from './paths.ts';
import { inTemporaryDirectory } from './work-directory.ts';

const run = promisify(execFile);

const GZIP = Buffer.of(0x1f, 0x8b);
const HASH = /^(.*?)#sha256=([0-9a-f]{64})$/;
/** More than anything that is fetched: a server may send without end. */
const MAX_SIZE = 8 * 2 ** 30;

type Progress = (message: string) => void;

export interface PrebuiltOptions {
  /** The only one of what is in a .tar file that is needed. Default: all. */
  member?: string;
  /** What is fetched is kept in the cache, with this before its hash. Default: it is not kept. */
  keptAs?: string;
  onProgress: Progress;
}

/**
 * Lets `use` have a directory with what was built elsewhere. `location`: that directory; or a .tar file of it, which may be compressed; or its URL.
 * `#sha256=HEX` after it, or a file of the same name with .sha256 beside it, says what the file has to be.
 *
 * @throws GuestImageError that says what is wrong.
 */
export async function withPrebuilt<T>(
  location: string,
  { member, keptAs, onProgress }: PrebuiltOptions,
  use: (directory: string, place: string) => Promise<T>,
): Promise<T> {
  const [, place = location, hash] = HASH.exec(location) ?? [];
  if ((await stat(place).catch(() => undefined))?.isDirectory()) return use(place, place);
  return inTemporaryDirectory('prebuilt', async (work) => {
    const tar = isUrl(place) ? await fetchTar(place, hash, { keptAs, work, onProgress }) : await checkTar(place, hash);
    onProgress(`unpacking ${member ?? basename(place)}`);
    await unpackTar(tar, work, member).catch((error: Error) => {
      throw new GuestImageError(
        `${member === undefined ? `${place} can't be unpacked` : `${place} has no guest ${member}`}: ${error.message}`,
        { cause: error },
      );
    });
    return use(work, place);
  });
}

/** Makes a .tar file of what is in a directory, the same of the same, compressed where its name says so; and the file .sha256 beside it. Returns the hash. */
export async function packPrebuilt(file: string, directory: string, names: readonly string[]): Promise<string> {
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];
  const packing = file.endsWith('.gz') ? ['--use-compress-program=gzip -n9'] : [];
  await run('tar', [...same, ...packing, '-cf', file, '-C', directory, ...names]);
  const hash = await sha256(file);
  await writeFile(`${file}.sha256`, `${hash}  ${basename(file)}\n`);
  return hash;
}

function isUrl(place: string): boolean {
  return /^https?:/.test(place);
}

/** What who writes is told when nobody reads any more. */
const UNREAD: (string | undefined)[] = ['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'];

/** By a pipe: not every tar takes paths of Windows, or unpacks what it reads. */
async function unpackTar(file: string, directory: string, member: string | undefined): Promise<void> {
  const running = run('tar', ['-xf', '-', ...(member === undefined ? [] : [member])], { cwd: directory });
  const isPacked = (await firstBytes(file)).equals(GZIP);
  const input = pipeline([createReadStream(file), ...(isPacked ? [createGunzip()] : []), running.child.stdin!]);
  const [ended, fed] = await Promise.allSettled([running, input]);
  if (ended.status === 'rejected') throw ended.reason as Error;
  // It ends as soon as it has seen the end of the archive, which may have more behind it.
  if (fed.status === 'rejected' && !UNREAD.includes((fed.reason as NodeJS.ErrnoException).code))
    throw fed.reason as Error;
}

async function firstBytes(path: string): Promise<Buffer> {
  await using file = await open(path);
  return (await file.read(Buffer.alloc(GZIP.length), 0, GZIP.length, 0)).buffer;
}

async function checkTar(path: string, hash: string | undefined): Promise<string> {
  if (!existsSync(path)) throw new GuestImageError(`${path} can't be read: it does not exist`);
  const wanted = hash ?? hashIn(await readFile(`${path}.sha256`, 'utf8').catch(() => ''), path);
  const found = await sha256(path).catch((error: Error) => {
    throw new GuestImageError(`${path} can't be read: ${error.message}`, { cause: error });
  });
  if (found !== wanted) throw wrong(path);
  return path;
}

interface Fetching {
  keptAs: string | undefined;
  work: string;
  onProgress: Progress;
}

async function fetchTar(
  url: string,
  hash: string | undefined,
  { keptAs, work, onProgress }: Fetching,
): Promise<string> {
  const wanted = hash ?? hashIn(await (await get(`${url}.sha256`)).text(), url);
  const path =
    keptAs === undefined
      ? join(work, 'fetched.tar')
      : join(writableCacheDirectory(), `${keptAs}-${wanted.slice(0, 24)}.tar`);
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
      next(done > MAX_SIZE ? wrong(url) : null, bytes);
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
