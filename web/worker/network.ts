/** What the server does not have as it should be. The message says what to do. */
export class DownloadError extends Error {
  override readonly name: string = 'DownloadError';
}

/** The server can’t be reached, or not for long enough. */
export class NetworkError extends DownloadError {
  override readonly name = 'NetworkError';
}

/** Told how many bytes have come; `isBroken` when the network broke and is tried again. */
export type OnDownload = (loaded: number, isBroken: boolean) => void;

/** Milliseconds before each further attempt, when one after the other brings nothing. */
const PAUSES = [500, 1000, 2000, 4000, 8000];
/** Milliseconds without a byte after which an attempt has failed. */
const STALL = 20_000;
const GZIP_MAGIC_0 = 0x1f;

/** What `use` makes of the answer to a request, which is repeated while network or server fail for the moment. */
export function request<T>(url: URL, use: (response: Response) => Promise<T>): Promise<T> {
  return persist(
    url,
    async () => use(await open(url, {})),
    () => {},
  );
}

/**
 * The bytes of a file of `size` bytes, over as many requests as it takes: each goes on where the one before broke. A file
 * that the server says to be encoded, which the browser decodes, may have more.
 */
export function download(url: URL, size: number, onDownload: OnDownload): ReadableStream<Uint8Array<ArrayBuffer>> {
  let reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  let at = 0;
  /** Bytes to come that have come before. */
  let again = 0;
  /** It comes as it is on the server, so that a part of it can be asked for. */
  let isStored: boolean | undefined;
  let isEncoded = false;
  let endedAt: number | undefined;

  const begin = async () => {
    const response = await open(url, isStored && at ? { range: `bytes=${at}-` } : {});
    // Pages of elsewhere are not shown this header: see below.
    isEncoded = response.headers.has('content-encoding');
    again = response.status === 206 ? 0 : at;
    return response.body!.getReader();
  };
  const next = async (): Promise<Uint8Array<ArrayBuffer> | undefined> => {
    for (;;) {
      // It may have broken behind the last byte.
      if (isStored && at === size) return undefined;
      reader ??= await begin();
      const { done, value } = await patiently(reader.read());
      if (done && !isStored) return undefined;
      if (done) {
        if (endedAt === at)
          throw new DownloadError(
            `${url.href} is truncated (expected ${size} bytes, found ${at}): deploy the page again, with all its files`,
          );
        endedAt = at;
        throw new Error(`it ended after ${at} of ${size} bytes`);
      }
      const known = Math.min(again, value.length);
      again -= known;
      if (known === value.length) continue;
      isStored ??= !isEncoded && value[0] === GZIP_MAGIC_0;
      at += value.length - known;
      return value.subarray(known);
    }
  };
  const abandon = () => {
    void reader?.cancel().catch(() => {});
    reader = undefined;
  };
  return new ReadableStream({
    async pull(controller) {
      const bytes = await persist(url, next, () => {
        abandon();
        onDownload(at, true);
      });
      if (!bytes) return controller.close();
      controller.enqueue(bytes);
      onDownload(at, false);
    },
    cancel: abandon,
  });
}

/** @throws DownloadError where another attempt would fail too; something else where it need not. */
async function open(url: URL, headers: Record<string, string>): Promise<Response> {
  const response = await patiently(fetch(url, { headers }));
  if (response.ok) return response;
  const { status, statusText } = response;
  const message = `the server answers ${status} ${statusText}`.trim();
  if (status >= 500 || status === 408 || status === 429) throw new Error(message);
  throw new DownloadError(`${url.href} can’t be fetched: ${message}`);
}

async function persist<T>(url: URL, action: () => Promise<T>, onBroken: () => void): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await action();
    } catch (error) {
      if (error instanceof DownloadError) throw error;
      if (failures === PAUSES.length)
        throw new NetworkError(
          `${url.href} can’t be fetched (${(error as Error).message}): check your network connection, and try again`,
          { cause: error },
        );
      onBroken();
      await new Promise((resolve) => setTimeout(resolve, PAUSES[failures]));
    }
  }
}

async function patiently<T>(waiting: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came for ${STALL / 1000} s`)), STALL);
  });
  return Promise.race([waiting, stalled]).finally(() => clearTimeout(timer));
}
