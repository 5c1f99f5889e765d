import { resolve } from 'node:path';
import type { TreeProgress, TreeReport } from '../../../device/index.ts';
import { OneAtATime } from '../../../device/one-at-a-time.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { Share } from '../../machine/share.ts';
import { fillFromImage, imageLocation } from '../images/share-image.ts';
import { isArchive, loadArchive, type SaveOptions, saveArchive } from './archive.ts';
import { type LoadedTree, loadingHostTree } from './host-tree.ts';
import { originOf, readOrigin, type ShareOrigin } from './origin.ts';
import { inSlices } from './slices.ts';
import { type WriteBackOptions, type WriteBackReport, writingBack } from './write-back.ts';

/** Options of `writeBack`. */
export interface ShareWriteBackOptions extends Omit<WriteBackOptions, 'beforeOperation'> {
  /** The directory that a restored share was loaded from: the snapshot's word for it is not enough to write there. */
  to?: string;
  /** Ends it before it is through, leaving whole files, old and new ones. */
  signal?: AbortSignal;
}

/** A share that can be filled from a host directory or an archive, and written back there. */
export class HostShare extends Share {
  /** What {@link load} could not take along. */
  skipped: TreeReport['skipped'] = [];
  #tree: Pick<LoadedTree, 'id' | 'directory' | 'known'> | undefined;
  #archive: string | undefined;
  /** What a snapshot says, until it is confirmed. */
  #claim: ReturnType<typeof readOrigin>;
  #isRestored = false;
  /** Loading and writing back are done one after the other. */
  readonly #transfers = new OneAtATime();

  /** The host directory or archive this was loaded from. */
  get source(): string | undefined {
    return this.#archive ?? this.#tree?.directory;
  }

  /** As {@link source}; of a share that came back from a snapshot, what that says. */
  get loadedFrom(): string | undefined {
    return this.source ?? this.#claim?.directory;
  }

  /**
   * Copies a host directory, or what is in an archive, into the share, where it replaces entries of the same names;
   * directories are joined. `image:` and a URL or file puts an image in the place of all that is there. What could not be taken along is in {@link skipped}. The event loop goes on meanwhile.
   * Throws {@link VmError} `share` when it can't be read.
   */
  load(source: string, onProgress?: TreeProgress): Promise<void> {
    return this.#transfers.run(async () => {
      const image = imageLocation(source);
      if (image !== undefined) {
        await fillFromImage(image, this.files, onProgress);
        this.#tree = this.#archive = undefined;
      } else if (await isArchive(source)) {
        this.skipped = (await loadArchive(source, this.files, onProgress)).skipped;
        this.#tree = undefined;
        this.#archive = source;
      } else {
        const tree = await inSlices(loadingHostTree(source, this.files, onProgress));
        this.skipped = tree.skipped;
        this.#tree = tree;
        this.#archive = undefined;
      }
      this.#claim = undefined;
    });
  }

  /**
   * Carries changes back to what {@link load} read, as often as it is called: an archive is written anew. Unmount or `sync` in the guest first.
   * Returns what had to stay behind. A share that came back from a snapshot is written back to the directory `to`, when the snapshot says that it
   * was loaded from there.
   *
   * @throws VmError `share` when there is nothing to write back to, or what the host had is not known.
   */
  writeBack({ to, signal, ...options }: ShareWriteBackOptions = {}): Promise<WriteBackReport['kept']> {
    return this.#transfers.run(async () => {
      if (this.#archive !== undefined) return (await saveArchive(this.#archive, this.files, { signal })).skipped;
      return (await inSlices(writingBack(this.#target(to), this.files, options), signal)).kept;
    });
  }

  /** Whether {@link writeBack} with this `to` would have where to write, before it is needed. @throws VmError `share`. */
  checkWriteBack(to?: string): void {
    if (this.#archive === undefined) this.#target(to);
  }

  /** Writes what is in the share to a .tar, .tar.gz, .tgz or memfs .json file, whole or not at all. Returns what could not be taken along. */
  async save(path: string, options: SaveOptions = {}): Promise<TreeReport['skipped']> {
    return (await saveArchive(path, this.files, options)).skipped;
  }

  /** What snapshots of the machine are to tell {@link adoptOrigin}. */
  get origin(): ShareOrigin | undefined {
    const { id, directory, known } = this.#tree ?? this.#claim ?? {};
    if (id === undefined || directory === undefined) return undefined;
    return known ? originOf({ id, directory, known }) : { id, directory };
  }

  /** The share has become what a snapshot had. `origin` is the snapshot's, from whoever made it. */
  adoptOrigin(origin: unknown): void {
    const claim = readOrigin(origin);
    // The same loading: what has been written back since is known here, and only here.
    if (this.#tree && claim?.id === this.#tree.id) return;
    this.#tree = this.#archive = undefined;
    this.#claim = claim;
    this.#isRestored = true;
  }

  #target(to: string | undefined): Pick<LoadedTree, 'directory' | 'known'> {
    const share = `share ${printable(JSON.stringify(this.tag))}`;
    const cure = 'write it to an archive with `save`';
    const claim = this.#claim;
    if (claim && to !== undefined) {
      if (resolve(to) !== resolve(claim.directory))
        throw new VmError(
          'share',
          `${share} was loaded from ${printable(claim.directory)}, not from ${printable(to)}: ${cure}`,
        );
      if (!claim.known)
        throw new VmError(
          'share',
          `${share} has too many entries for its snapshot to say what ${printable(to)} had, so nobody knows what the host has changed since: ${cure}`,
        );
      this.#tree = { id: claim.id, directory: to, known: claim.known };
      this.#claim = undefined;
    }
    if (this.#tree) {
      if (to !== undefined && resolve(to) !== resolve(this.#tree.directory))
        throw new VmError(
          'share',
          `${share} was loaded from ${printable(this.#tree.directory)}, not from ${printable(to)}: ${cure}`,
        );
      return this.#tree;
    }
    if (claim)
      throw new VmError(
        'share',
        `${share} came back from a snapshot, which says that it was loaded from ${printable(claim.directory)}: if it may be written there, give \`to\` with that directory`,
      );
    if (this.#isRestored)
      throw new VmError(
        'share',
        `${share} came back from a snapshot, which does not say what a host directory had: ${cure}`,
      );
    throw new VmError('share', `${share} was not loaded from the host: give it a directory or an archive`);
  }
}
