import { proxy, type Remote, transfer, wrap } from 'comlink';
import { concat } from '../../device/bytes.ts';
import type { MemoryOrigin } from '../../device/filesystems/memory/inode-table.ts';
import type { MemoryState } from '../../device/filesystems/memory/state.ts';
import { EIO, FsError } from '../../device/fs/errno.ts';
import type { ContentChunk } from '../../device/fs/origin.ts';
import { streamFlate } from '../../device/image/flate.ts';
import { readImageHead } from '../../device/image/head.ts';
import { loadCodec } from '../../device/index.ts';
import { HASH_LENGTH } from '../../device/snapshot/layer.ts';
import type { PageApi } from '../protocol.ts';
import type { ImageService, ToldTrouble, Wanted } from './image-service.ts';

const ID_SHOWN = 12;

/** The images that guests of this page have for roots; each is opened once. What is to be done for them is done in a worker of their own. */
export class PageImages {
  readonly #page: Pick<PageApi, 'imageTrouble' | 'serveImages'>;
  #service: Remote<ImageService> | undefined;
  readonly #images = new Map<string, Promise<RemoteImage>>();
  /** Where images are, by their ids. */
  readonly #places = new Map<string, URL>();

  constructor(page: Pick<PageApi, 'imageTrouble' | 'serveImages'>) {
    this.#page = page;
  }

  /** Opens the image at a URL, which has to be the one with this id if there is one. @throws Error that says why it can't be had. */
  async open(url: URL, id?: string): Promise<RemoteImage> {
    const key = `${id} ${url.href}`;
    let image = this.#images.get(key);
    if (!image) {
      image = this.#open(url, id);
      this.#images.set(key, image);
      // Another attempt may find more.
      image.catch(() => this.#images.delete(key));
    }
    const found = await image;
    this.#places.set(found.id, url);
    return found;
  }

  /** Says where the image with this id is. */
  isAt(id: string, url: URL): void {
    this.#places.set(id, url);
  }

  knows(id: string): boolean {
    return this.#places.has(id);
  }

  /** The image with this id. @throws Error when nobody has said where that is, or it can't be had. */
  async withId(id: string): Promise<RemoteImage> {
    const url = this.#places.get(id);
    if (url) return this.open(url, id);
    const others = [...this.#places.keys()].map((known) => known.slice(0, ID_SHOWN)).join(', ');
    throw new Error(
      `its root filesystem is the image ${id.slice(0, ID_SHOWN)}, but this page has ${others ? `the image ${others}` : 'no image'}: open it on a page that has that image, or with \`v86-virtiofs restore --image IMAGE\``,
    );
  }

  /** What those have that were opened, by their ids. */
  async trees(): Promise<Map<string, MemoryState>> {
    const all = await Promise.allSettled(this.#images.values());
    return new Map(
      all.flatMap((each) => (each.status === 'fulfilled' ? [[each.value.id, each.value.tree] as const] : [])),
    );
  }

  async #open(url: URL, id: string | undefined): Promise<RemoteImage> {
    const { service, failed } = this.#connect();
    const { number, head } = await Promise.race([
      service.open(
        url.href,
        id,
        proxy((trouble: ToldTrouble | undefined) => this.#page.imageTrouble(trouble)),
      ),
      // Once it has answered, it is there.
      failed,
    ]);
    // Where chunks are is for the service to know.
    const place = { headLength: 0, dataLength: 0, headHash: new Uint8Array(HASH_LENGTH) };
    const { info, state } = await readImageHead(head, place, 0, { codec: loadCodec(), flate: streamFlate });
    return new RemoteImage(info.id, state, service, number);
  }

  #connect(): { service: Remote<ImageService>; failed: Promise<never> } {
    if (this.#service) return { service: this.#service, failed: new Promise(() => {}) };
    const { port1, port2 } = new MessageChannel();
    const failed = this.#page.serveImages(transfer(port1, [port1]));
    failed.catch(() => (this.#service = undefined));
    this.#service = wrap<ImageService>(port2);
    return { service: this.#service, failed };
  }
}

/** An image whose content the service has. */
export class RemoteImage implements MemoryOrigin {
  readonly id: string;
  readonly tree: MemoryState;
  readonly #service: Remote<ImageService>;
  readonly #number: number;

  constructor(id: string, tree: MemoryState, service: Remote<ImageService>, number: number) {
    this.id = id;
    this.tree = tree;
    this.#service = service;
    this.#number = number;
  }

  async fetch(chunks: readonly ContentChunk[]): Promise<Uint8Array[]> {
    try {
      return await this.#service.fetch(this.#number, wanted(chunks));
    } catch (error) {
      throw new FsError(EIO, (error as Error).message);
    }
  }

  expect(chunks: readonly ContentChunk[]): void {
    void this.#service.expect(this.#number, wanted(chunks)).catch(() => {});
  }
}

function wanted(chunks: readonly ContentChunk[]): Wanted {
  return {
    hashes: concat(chunks.map(({ hash }) => hash)),
    lengths: Uint32Array.from(chunks, ({ length }) => length),
  };
}
