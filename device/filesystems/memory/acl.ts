import { EINVAL, FsError } from '../../fs/errno.ts';

/** The attributes that hold them, as Linux's posix_acl_xattr.h has it. */
export const ACL_ACCESS = 'system.posix_acl_access';
export const ACL_DEFAULT = 'system.posix_acl_default';

const VERSION = 2;
const HEADER_SIZE = 4;
const ENTRY_SIZE = 8;
const USER_OBJ = 0x01;
const USER = 0x02;
const GROUP_OBJ = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;
const RANK = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];

interface AclEntry {
  readonly tag: number;
  /** rwx, 0 to 7. */
  perm: number;
  readonly id: number;
}

/** A POSIX access control list, acl(5). */
export class Acl {
  readonly #entries: AclEntry[];

  private constructor(entries: AclEntry[]) {
    this.#entries = entries;
  }

  /** @throws FsError EINVAL for what is no list, or not a valid one. */
  static decode(bytes: Uint8Array): Acl {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (bytes.length < HEADER_SIZE || (bytes.length - HEADER_SIZE) % ENTRY_SIZE || view.getUint32(0, true) !== VERSION)
      throw FsError.of(EINVAL);
    const entries: AclEntry[] = [];
    for (let at = HEADER_SIZE; at < bytes.length; at += ENTRY_SIZE) {
      entries.push({
        tag: view.getUint16(at, true),
        perm: view.getUint16(at + 2, true),
        id: view.getUint32(at + 4, true),
      });
    }
    if (entries.length && !isValid(entries)) throw FsError.of(EINVAL);
    return new Acl(entries);
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Says no more than permission bits do. */
  get isMinimal(): boolean {
    return this.#entries.every(({ tag }) => tag === USER_OBJ || tag === GROUP_OBJ || tag === OTHER);
  }

  /** The permission bits that show it. */
  get mode(): number {
    return (this.#find(USER_OBJ).perm << 6) | (this.#group.perm << 3) | this.#find(OTHER).perm;
  }

  /** What chmod makes of it. */
  set mode(mode: number) {
    this.#find(USER_OBJ).perm = (mode >> 6) & 7;
    this.#group.perm = (mode >> 3) & 7;
    this.#find(OTHER).perm = mode & 7;
  }

  encode(): Uint8Array {
    const bytes = new Uint8Array(HEADER_SIZE + ENTRY_SIZE * this.#entries.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, VERSION, true);
    this.#entries.forEach(({ tag, perm, id }, n) => {
      const at = HEADER_SIZE + ENTRY_SIZE * n;
      view.setUint16(at, tag, true);
      view.setUint16(at + 2, perm, true);
      view.setUint32(at + 4, id, true);
    });
    return bytes;
  }

  /** The entry that the group's permission bits are those of. */
  get #group(): AclEntry {
    return this.#entries.find(({ tag }) => tag === MASK) ?? this.#find(GROUP_OBJ);
  }

  #find(wanted: number): AclEntry {
    return this.#entries.find(({ tag }) => tag === wanted)!;
  }
}

/** acl(5), "VALID ACLs"; in the order that Linux wants. */
function isValid(entries: readonly AclEntry[]): boolean {
  const count = (wanted: number) => entries.filter(({ tag }) => tag === wanted).length;
  const isSorted = entries.every(
    ({ tag }, n) => RANK.includes(tag) && (n === 0 || RANK.indexOf(entries[n - 1]!.tag) <= RANK.indexOf(tag)),
  );
  const names = entries.filter(({ tag }) => tag === USER || tag === GROUP);
  return (
    isSorted &&
    entries.every(({ perm }) => perm <= 7) &&
    [USER_OBJ, GROUP_OBJ, OTHER].every((tag) => count(tag) === 1) &&
    count(MASK) <= 1 &&
    (names.length === 0 || count(MASK) === 1) &&
    new Set(names.map(({ tag, id }) => tag * 2 ** 32 + id)).size === names.length
  );
}
