import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Readable } from 'node:stream';
import type { MemoryFileSystem, TreeProgress, TreeReport } from '../../../device/index.ts';
import { ByteQueue } from '../../../device/trees/byte-queue.ts';
import { loadLayer } from '../../../device/trees/layer.ts';
import { emptyTreeReport, note } from '../../../device/trees/report.ts';
import { TarReader } from '../../../device/trees/tar-reader.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';

/** Bytes of one index, manifest or configuration. */
const MAX_JSON = 4 << 20;
/** Indexes in indexes. */
const MAX_DEPTH = 4;
/** Files in one archive. */
const MAX_FILES = 100_000;
/** Layers of one image: more than any builder makes. */
const MAX_LAYERS = 512;
/** What v86 emulates, as OCI calls it. */
const ARCHITECTURE = '386';

/** The files of a container image: in a directory, or in an archive. */
interface Files {
  has(name: string): boolean | Promise<boolean>;
  stream(name: string): Promise<Readable>;
}

interface Descriptor {
  mediaType?: string;
  digest: string;
  size?: number;
  platform?: { architecture?: string; os?: string };
}

/** Where the layers of an image are, the lowest first. */
interface Layers {
  files: Files;
  layers: { name: string; digest: string | undefined }[];
  architecture: string | undefined;
}

/** Finds an image as `docker save`, skopeo, podman or buildah write it; undefined when this is something else. @throws VmError `share`. */
export async function findContainerImage(path: string): Promise<Layers | undefined> {
  const files = (await stat(path)).isDirectory() ? directory(path) : await archive(path);
  if (!files) return undefined;
  const fail = refusing(path);
  // Others have files of these names too: a web application, say.
  if ((await files.has('oci-layout')) && (await files.has('index.json'))) return fromIndex(files, fail);
  const saved = (await files.has('manifest.json')) && (await readJson(files, 'manifest.json', fail).catch(() => {}));
  return isSaved(saved) ? fromManifest(files, saved, fail) : undefined;
}

/** Fills a filesystem with all layers of an image, one over the other. Each is compared with its digest. @throws VmError `share`. */
export async function loadContainerImage(
  path: string,
  { files, layers, architecture }: Layers,
  filesystem: MemoryFileSystem,
  onProgress?: TreeProgress,
): Promise<TreeReport> {
  const fail = refusing(path);
  const report = emptyTreeReport();
  if (architecture !== undefined && architecture !== ARCHITECTURE)
    note(
      report.skipped,
      '',
      `its programs are for ${architecture}, which the guest can't run: it runs those for ${ARCHITECTURE}`,
    );
  for (const { name, digest } of layers) {
    if (digest !== undefined) await checkDigest(files, name, digest, fail);
    try {
      const {
        files: count,
        bytes,
        skipped,
      } = await loadLayer(
        filesystem,
        async () => Readable.toWeb(await files.stream(name)) as ReadableStream<Uint8Array>,
        onProgress && ((soFar, length) => onProgress(report.files + soFar, report.bytes + length)),
      );
      report.files += count;
      report.bytes += bytes;
      for (const each of skipped) note(report.skipped, each.path, each.reason);
    } catch (error) {
      throw fail(`its layer ${name} can't be read: ${(error as Error).message}`, error);
    }
  }
  return report;
}

type Refuse = (what: string, cause?: unknown) => VmError;

function refusing(path: string): Refuse {
  return (what, cause) => new VmError('share', `${printable(path)}: ${printable(what)}`, { cause });
}

/** OCI image layout. */
async function fromIndex(files: Files, fail: Refuse): Promise<Layers> {
  let { manifests } = (await readJson(files, 'index.json', fail)) as { manifests?: Descriptor[] };
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const descriptor = choose(manifests, fail);
    const name = blobName(descriptor, fail);
    await checkDigest(files, name, descriptor.digest, fail);
    const manifest = (await readJson(files, name, fail)) as {
      manifests?: Descriptor[];
      layers?: Descriptor[];
      config?: Descriptor;
    };
    if (manifest.manifests) {
      ({ manifests } = manifest);
      continue;
    }
    const config = manifest.config ? await readJson(files, blobName(manifest.config, fail), fail) : {};
    return {
      files,
      layers: listOf<Descriptor>(manifest.layers, fail).map((layer) => {
        if (typeof layer?.mediaType === 'string' && /zstd$/.test(layer.mediaType))
          throw fail('its layers are compressed with zstd: save it with gzip, or not compressed');
        return { name: blobName(layer, fail), digest: layer.digest };
      }),
      architecture: architectureOf(config),
    };
  }
  throw fail('its index is in too many others');
}

/** The one for this guest, or the first one that is an image: attestations are of no platform. One that has several names is there several times. */
function choose(manifests: unknown, fail: Refuse): Descriptor {
  const all = listOf<Descriptor>(manifests, fail).filter((each) => each?.platform?.os !== 'unknown');
  const fitting = all.filter((each) => each?.platform?.architecture === ARCHITECTURE);
  const [found, ...others] = fitting.length ? fitting : all;
  if (!found) throw fail('it has no manifest');
  const platform = JSON.stringify(found.platform);
  for (const other of others)
    if (
      other?.digest !== found.digest &&
      (!platform || !other?.platform || JSON.stringify(other.platform) === platform)
    )
      throw fail('it has several images, which no platform tells apart: save one');
  return found;
}

/** What `docker save` has written as manifest.json. */
interface Saved {
  Config?: unknown;
  Layers: unknown[];
}

function isSaved(manifests: unknown): manifests is Saved[] {
  return Array.isArray(manifests) && manifests.length > 0 && manifests.every((each) => Array.isArray(each?.Layers));
}

/** `docker save`, of releases that wrote no index. */
async function fromManifest(files: Files, [manifest, ...others]: Saved[], fail: Refuse): Promise<Layers> {
  if (others.length) throw fail(`it has ${1 + others.length} images: save one`);
  const { Config: configName, Layers: names } = manifest!;
  const config = typeof configName === 'string' ? await readJson(files, configName, fail) : {};
  const layers = listOf<string>(names, fail).map((name) => {
    if (typeof name !== 'string') throw fail('it names a layer that is no file');
    const [, hex] = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name) ?? [];
    return { name, digest: hex && `sha256:${hex}` };
  });
  return { files, layers, architecture: architectureOf(config) };
}

function architectureOf(config: unknown): string | undefined {
  const { architecture } = (config ?? {}) as { architecture?: unknown };
  return typeof architecture === 'string' ? architecture : undefined;
}

function listOf<T>(value: unknown, fail: Refuse): T[] {
  if (!Array.isArray(value) || value.length > MAX_LAYERS) throw fail('its manifest is malformed');
  return value as T[];
}

function blobName(descriptor: Descriptor | undefined, fail: Refuse): string {
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(String(descriptor?.digest)) ?? [];
  if (!hex) throw fail(`it names a part by ${String(descriptor?.digest)}, and only sha256 can be read here`);
  return `blobs/sha256/${hex}`;
}

async function checkDigest(files: Files, name: string, digest: string, fail: Refuse): Promise<void> {
  const hash = createHash('sha256');
  for await (const part of await orFail(() => files.stream(name), name, fail)) hash.update(part as Buffer);
  if (`sha256:${hash.digest('hex')}` !== digest) throw fail(`${name} is damaged: copy it again`);
}

async function readJson(files: Files, name: string, fail: Refuse): Promise<unknown> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of await orFail(() => files.stream(name), name, fail)) {
    length += (part as Buffer).length;
    if (length > MAX_JSON) throw fail(`${name} is too long`);
    parts.push(part as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString()) ?? {};
  } catch (error) {
    throw fail(`${name} is no JSON`, error);
  }
}

async function orFail<T>(action: () => Promise<T>, name: string, fail: Refuse): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw fail(`${name} is missing: save it again`, error);
  }
}

function directory(path: string): Files {
  const there = (name: string) => stat(join(path, name));
  return {
    has: async (name) => (await there(name).catch(() => undefined))?.isFile() ?? false,
    stream: async (name) => {
      const [parts, file] = [name.split('/'), await there(name)];
      if (parts.includes('..') || !file.isFile()) throw new Error('no file');
      return createReadStream(join(path, name));
    },
  };
}

/** Undefined for what is no tar archive, or a compressed one. */
async function archive(path: string): Promise<Files | undefined> {
  const places = new Map<string, { at: number; size: number }>();
  const links = new Map<string, string>();
  const queue = new ByteQueue(Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>);
  try {
    const reader = new TarReader(queue);
    for (let entry = await reader.next(); entry; entry = await reader.next()) {
      if (places.size + links.size > MAX_FILES) return undefined;
      const at = queue.taken;
      const name = posix.normalize(entry.name);
      if (entry.type === '0' || entry.type === '7') places.set(name, { at, size: entry.size });
      else if (entry.type === '2') links.set(name, posix.join(posix.dirname(name), entry.linkname));
      else if (entry.type === '1') links.set(name, posix.normalize(entry.linkname));
    }
  } catch {
    return undefined;
  } finally {
    queue.cancel(undefined);
  }
  const place = (name: string) => {
    const normal = posix.normalize(name);
    return places.get(normal) ?? places.get(links.get(normal) ?? '');
  };
  return {
    has: (name) => place(name) !== undefined,
    stream: async (name) => {
      const found = place(name);
      if (!found) throw new Error('no file');
      return found.size
        ? createReadStream(path, { start: found.at, end: found.at + found.size - 1 })
        : Readable.from([]);
    },
  };
}
