import { gunzipped } from '../../device/trees/gunzip.ts';
import { GUEST_VERSION, type GuestManifest, type PackedFile } from '../protocol/manifest.ts';
import { DownloadError, download, NetworkError, type OnDownload, request } from './network.ts';

/** What to do where there is no guest. */
const MISSING =
  'Serve the directory dist/page/guest of the package v86-virtiofs there, or name the place where it is with `src`';
const DEPLOY = 'deploy the page again, with all its files';

/** @throws DownloadError also for one that this page can't use. */
export async function fetchManifest(base: URL): Promise<GuestManifest> {
  const url = new URL('guest.json', base);
  const text = await request(url, (response) => response.text()).catch((error: Error) => {
    throw error instanceof NetworkError || !(error instanceof DownloadError)
      ? error
      : new DownloadError(`${error.message}. ${MISSING}`, { cause: error });
  });
  let manifest: GuestManifest;
  try {
    manifest = JSON.parse(text) as GuestManifest;
  } catch (error) {
    throw new DownloadError(`${url.href} can’t be read (${(error as Error).message}): ${DEPLOY}`, { cause: error });
  }
  if (manifest.version !== GUEST_VERSION) {
    throw new DownloadError(
      `${url.href} is of version ${manifest.version}, this page takes version ${GUEST_VERSION}: reload the page without the browser's cache, or ${DEPLOY}`,
    );
  }
  return manifest;
}

/** A file's content, unpacked while it comes in. */
export async function fetchPacked(
  base: URL,
  { file, size, unpackedSize }: PackedFile,
  onDownload: OnDownload,
): Promise<Uint8Array<ArrayBuffer>> {
  const url = new URL(file, base);
  const content = new Uint8Array(unpackedSize);
  let at = 0;
  try {
    const reader = (await gunzipped(download(url, size, onDownload))).getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      content.set(next.value, at);
      at += next.value.length;
    }
  } catch (error) {
    if (error instanceof DownloadError) throw error;
    throw new DownloadError(`${url.href} is damaged (${(error as Error).message}): ${DEPLOY}`, { cause: error });
  }
  if (at !== unpackedSize)
    throw new DownloadError(
      `${url.href} does not match guest.json (expected ${unpackedSize} bytes unpacked, found ${at}): ${DEPLOY}`,
    );
  return content;
}
