/** A guest that v86 can boot: paths of its files. */
export interface GuestImage {
  /** The compressed kernel, for the BIOS road. */
  readonly kernel: string;
  /** The same kernel as an ELF file, for direct boot. */
  readonly vmlinux: string;
  /** Path of the initial RAM disk. */
  readonly initrd: string;
  /** The same without kernel modules. */
  readonly plainInitrd: string;
  /** Path of SeaBIOS. */
  readonly bios: string;
  /** Path of its part for the VGA card. */
  readonly vgaBios: string;
  /** `linux/fuse.h` of Debian's linux-libc-dev, for the tests to compare with. */
  readonly fuseHeader: string;
  /** `src/init.c`, for a root filesystem that has no such thing. */
  readonly init: string;
  /** `src/agent.c`, likewise. */
  readonly agent: string;
  /** `uname -r`. */
  readonly release: string;
  /** SHA-256 over all of the files, hex: images with the same one boot the same. */
  readonly id: string;
}

/** Which image, and who hears of its building. */
export interface GuestImageOptions {
  /** Where the image is kept. Default: below the cache directory, by what it is made from. */
  directory?: string;
  /** `fast`: the driver of `driver/`, which is built for the kernel when it is first asked for. Default: `stock`, the kernel's own. */
  driver?: 'stock' | 'fast';
  /** `minimal`: Linux 6.12 with what a guest needs here and nothing else, which is built when it is first asked for. Default: `stock`, Debian's 6.1. */
  kernel?: 'stock' | 'minimal';
  /** Called with what is being done, and how much of it is done where that is known (0 to 1). */
  onProgress?: (message: string, fraction?: number) => void;
}
