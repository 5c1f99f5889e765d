import { ImageError, type ImageFiles, type ReadAnswer, type ReadRequest } from './files.ts';

/** Milliseconds without a byte after which an answer is given up. */
const STALL = 30_000;

/** An image on a web server, any that serves files. Of one that knows ranges no more is asked for than is needed. */
export class HttpImage implements ImageFiles {
  readonly place: string;
  readonly #url: URL;
  readonly #stall: number;

  /** `stallMs`: time without a byte after which an answer is given up. Default: 30 s. */
  constructor(url: URL, { stallMs = STALL }: { stallMs?: number } = {}) {
    this.#url = url;
    this.place = url.href;
    this.#stall = stallMs;
  }

  async read(name: string, { from, to, signal, isFresh }: ReadRequest): Promise<ReadAnswer> {
    const url = name ? new URL(name, this.#url) : this.#url;
    const watch = new Watch(signal, this.#stall);
    try {
      const whole = from === 0 && to === undefined;
      const response = await fetch(url, {
        signal: watch.signal,
        ...(isFresh && { cache: 'reload' as const }),
        ...(!whole && { headers: { range: `bytes=${from}-${to === undefined ? '' : to - 1}` } }),
      });
      try {
        checkAnswer(url, response, from, to);
      } catch (error) {
        await response.body?.cancel().catch(() => {});
        throw error;
      }
      watch.touch();
      return { isWhole: response.status !== 206, parts: parts(url, response, watch) };
    } catch (error) {
      watch.end();
      throw explained(url, error, watch);
    }
  }
}

function checkAnswer(url: URL, { ok, status, statusText, headers }: Response, from: number, to?: number): void {
  const answered = `${url.href}: the server answers ${status} ${statusText}`.trimEnd();
  if (status === 404 || status === 410)
    throw new ImageError(
      `${answered}: the image was removed, or replaced by another one, or was not copied whole; publish it again`,
    );
  const tooShort = 'the file there is shorter than the image says; publish it again';
  if (status === 416) throw new ImageError(`${answered}: ${tooShort}`);
  if (status === 429 || status === 408 || status >= 500) throw new ImageError(answered, { mayPass: true });
  if (!ok) throw new ImageError(`${answered}: let it serve this file`);
  const encoding = headers.get('content-encoding');
  if (encoding && encoding !== 'identity')
    throw new ImageError(
      `${url.href} comes compressed (Content-Encoding: ${encoding}), so parts of it can't be asked for: let the server send it as it is`,
    );
  const [, start, total] = /^bytes (\d+)-\d*(?:\/(\d+))?/.exec(headers.get('content-range') ?? '') ?? [];
  if (status === 206 && start !== undefined && Number(start) !== from)
    throw new ImageError(
      `${url.href}: the server was asked for bytes from ${from} on${to ? ` to ${to}` : ''}, and sends others`,
    );
  const length = status === 206 ? total : headers.get('content-length');
  if (to !== undefined && Number(length ?? NaN) < to) throw new ImageError(`${url.href}: ${tooShort}`);
}

async function* parts(url: URL, response: Response, watch: Watch): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const { done = true, value } = (await reader?.read()) ?? {};
      if (done) return;
      watch.touch();
      yield value!;
      watch.touch();
    }
  } catch (error) {
    throw explained(url, error, watch);
  } finally {
    watch.end();
    await reader?.cancel().catch(() => {});
  }
}

function explained(url: URL, error: unknown, watch: Watch): ImageError {
  if (error instanceof ImageError) return error;
  const reason = watch.isStalled ? 'nothing has come for a while' : causeOf(error);
  return new ImageError(
    `can't fetch ${url.href}: ${reason}; look at the network, and whether the server lets this page read it (Access-Control-Allow-Origin)`,
    { mayPass: true, cause: error },
  );
}

/** Node's fetch says what failed in the cause only. */
function causeOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message ? `${message} (${cause.message})` : message;
}

/** Aborts a request when nothing has come for a while. */
class Watch {
  readonly #abort = new AbortController();
  readonly #stall: number;
  readonly #stop: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  isStalled = false;

  constructor(signal: AbortSignal, stall: number) {
    this.#stall = stall;
    const onAbort = () => this.#abort.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    this.#stop = () => signal.removeEventListener('abort', onAbort);
    this.touch();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  touch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.isStalled = true;
      this.#abort.abort();
    }, this.#stall);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#stop();
  }
}
