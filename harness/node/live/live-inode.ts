import { fstatSync } from 'node:fs';
import { S_IFDIR } from '../../../device/fs/constants.ts';
import type { Inode } from '../../../device/fs/filesystem.ts';
import type { Identity } from './identity.ts';

/** What a file's descriptor is for. */
export type Access = 'reading' | 'reading quietly' | 'writing' | 'appending';

export const ACCESSES: readonly Access[] = ['reading', 'reading quietly', 'writing', 'appending'];

/** A file of the host, as one guest knows it. What changes in it belongs to `LiveInodes`. */
export class LiveInode implements Inode {
  readonly ino: number;
  readonly generation: number;
  readonly identity: Identity;
  /** S_IFMT. */
  readonly type: number;
  /** Where it was seen last; undefined for the root. */
  parent: LiveInode | undefined;
  name = '';
  /** Where it was seen before that: another name of it, or the one that it had. */
  #before: { parent: LiveInode; name: string } | undefined;
  /** How often it is retained, how often it is open, and how much is being done with its descriptors. */
  retained = 0;
  opens = 0;
  busy = 0;
  /** To be settled when it is not busy any more. */
  isLeaving = false;
  /** An O_PATH descriptor, which keeps it from being another file. */
  pin: number | undefined;
  readonly files: Partial<Record<Access, number>> = {};
  /** The descriptor for writing reads, too. */
  readsToo = false;
  /** Of a symbolic link, once it was read: it never changes. */
  target: string | undefined;

  constructor(identity: Identity, ino: number, generation: number, type: number) {
    this.identity = identity;
    this.ino = ino;
    this.generation = generation;
    this.type = type;
  }

  isSeen(parent: LiveInode, name: string): void {
    if (this.parent === parent && this.name === name) return;
    if (this.parent) this.#before = { parent: this.parent, name: this.name };
    this.parent = parent;
    this.name = name;
  }

  /** It does not have the name any more. Where it was before is where it may be. Returns whether that is anywhere. */
  isGone(parent: LiveInode, name: string): boolean {
    if (this.#before?.parent === parent && this.#before.name === name) this.#before = undefined;
    if (this.parent !== parent || this.name !== name || !this.#before) return false;
    [this.parent, this.name] = [this.#before.parent, this.#before.name];
    this.#before = undefined;
    return true;
  }

  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }

  get isUnlinked(): boolean {
    return this.pin !== undefined && !this.isDirectory && fstatSync(this.pin).nlink === 0;
  }

  /** Any descriptor of its content. */
  get file(): number | undefined {
    for (const access of ACCESSES) if (this.files[access] !== undefined) return this.files[access];
    return undefined;
  }

  get hasDescriptors(): boolean {
    return this.pin !== undefined || this.file !== undefined;
  }
}
