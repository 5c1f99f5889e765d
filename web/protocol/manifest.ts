/** Of `guest.json`: raised when pages made before can't use what it describes. */
export const GUEST_VERSION = 3;

/** A gzip file beside `guest.json`. */
export interface PackedFile {
  /** Its name has its hash: it never changes. */
  file: string;
  /** Bytes of it, and of what is inside. */
  size: number;
  unpackedSize: number;
}

/** `guest.json`, which the build puts beside the files that it names. */
export interface GuestManifest {
  version: number;
  /** A layer of docs/snapshot-format.md, and the snapshot in it that the guest starts from. */
  snapshot: PackedFile & { id: string };
  /** For a cold boot, where there is no snapshot to start from: the kernel as an ELF file, its initial RAM disk, and a tar archive of the shared folder. */
  boot: { kernel: PackedFile; initrd: PackedFile; folder: PackedFile };
  /** What a root filesystem on an image is booted with: two programs that it is given, and an initial RAM disk where the kernel needs one. */
  rootBoot: { init: PackedFile; agent: PackedFile; initrd?: PackedFile };
  /** The image that the snapshot's machine has its root filesystem on: its id, and its URL, relative to this file. Default: it has no root. */
  root?: { id: string; image: string };
  /** What the snapshot's machine is: see `SnapshotInfo`. */
  machine: Record<string, string | number | string[]>;
}
