import type { ImageInfo } from '../../../device/image/head.ts';
import type { OpenImage, OpenImageOptions } from '../../../device/image/open.ts';
import type { V86Machine } from '../../../device/v86/adapter.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import type { VmOptions } from '../vm-options.ts';
import { openImageAt } from './open.ts';
import { imageCache, imageLocation } from './share-image.ts';

/** Is told what is wrong with the place where an image is, and "" when that has passed. */
type Listener = (message: string) => void;

/** An image that is open, for all in this process who use it. */
interface Opened {
  readonly location: string;
  readonly image: Promise<OpenImage>;
  users: number;
  readonly listeners: Set<Listener>;
}

/** What of a machine's options is about its images. */
export type ImageUse = Pick<VmOptions, 'onProgress' | 'imagePatience' | 'onImageTrouble'>;
type TakeOptions = ImageUse & { ids?: ReadonlySet<string>; id?: string };

const opened = new Set<Opened>();

/** Images that somebody uses: each is closed when the last one who has it lets go. */
export class ImageLeases {
  readonly #held = new Map<Opened, Listener>();

  /**
   * An image. `named`: its URL or file, with or without `image:`. `ids`: those that are looked for; one of them that is open already is used again. `id`: what it has
   * to be. Default: whatever is there now.
   *
   * @throws VmError `share` when it can't be had.
   */
  async take(
    named: string,
    { ids, id, imagePatience: patience, onProgress = () => {}, onImageTrouble = onProgress }: TakeOptions = {},
  ): Promise<OpenImage> {
    const location = imageLocation(named) ?? named;
    try {
      const there = ids && (await this.#find(location, ids, onImageTrouble));
      if (there) return there;
      const fresh = begin(location, { id, patience });
      this.#hold(fresh, onImageTrouble);
      return await fresh.image;
    } catch (error) {
      throw new VmError('share', `the image ${printable(location)}: ${printable((error as Error).message)}`, {
        cause: error,
      });
    }
  }

  async #find(location: string, ids: ReadonlySet<string>, listener: Listener): Promise<OpenImage | undefined> {
    for (const each of [...opened]) {
      if (each.location !== location) continue;
      // Nobody may close it while it is looked at.
      const isNew = !this.#held.has(each);
      this.#hold(each, listener);
      const image = await each.image.catch(() => undefined);
      if (image && ids.has(image.info.id)) return image;
      if (isNew) this.#letGo(each);
    }
    return undefined;
  }

  #hold(each: Opened, listener: Listener): void {
    if (this.#held.has(each)) return;
    // The same function may be several holders'.
    const own: Listener = (message) => listener(message);
    this.#held.set(each, own);
    each.users++;
    each.listeners.add(own);
  }

  #letGo(each: Opened): void {
    const listener = this.#held.get(each);
    if (!listener) return;
    this.#held.delete(each);
    each.listeners.delete(listener);
    if (--each.users > 0) return;
    opened.delete(each);
    void each.image.then(
      ({ origin }) => origin.close(),
      () => {},
    );
  }

  /** Holds all that are open in this process. */
  takeOpen(): void {
    for (const each of opened) this.#hold(each, () => {});
  }

  /** Holds them until a machine ends, too. */
  keepFor(machine: V86Machine): void {
    const kept = new ImageLeases();
    for (const [each, listener] of this.#held) kept.#hold(each, listener);
    machine.onEnd(() => kept.release());
  }

  /** Lets go of all. */
  release(): void {
    for (const each of [...this.#held.keys()]) this.#letGo(each);
  }
}

/** Does something with images, which are held by a machine that it makes afterwards, or by nobody. */
export async function holdingImages<T>(action: (images: ImageLeases) => Promise<T>): Promise<T> {
  const images = new ImageLeases();
  try {
    return await action(images);
  } finally {
    images.release();
  }
}

/** What is said of the images that are open in this process. */
export async function openImages(): Promise<ImageInfo[]> {
  return (await Promise.all([...opened].map(({ image }) => image))).map(({ info }) => info);
}

function begin(location: string, options: Pick<OpenImageOptions, 'id' | 'patience'>): Opened {
  const listeners = new Set<Listener>();
  const tell = (message: string) => {
    for (const listener of listeners) listener(message);
  };
  const image = openImageAt(location, {
    ...options,
    cache: imageCache(),
    onTrouble: ({ error }) => tell(error.message),
    onRecovered: () => tell(''),
  });
  const fresh = { location, image, users: 0, listeners };
  opened.add(fresh);
  return fresh;
}
