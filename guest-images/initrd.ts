import { CpioArchive } from './cpio.ts';
import { GuestImageError } from './errors.ts';
import { readCpio } from './read-cpio.ts';

/** What an initial RAM disk of Linux begins with: a cpio archive of the "newc" form, or one that is compressed. */
const MAGICS = [
  Buffer.from('070701'),
  Buffer.from('070702'),
  Buffer.of(0x1f, 0x8b),
  Buffer.of(0x42, 0x5a, 0x68),
  Buffer.of(0x5d, 0, 0),
  Buffer.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0),
  Buffer.of(0x89, 0x4c, 0x5a, 0x4f),
  Buffer.of(0x02, 0x21, 0x4c, 0x18),
  Buffer.of(0x28, 0xb5, 0x2f, 0xfd),
];
const AGENTS = new Set(['bin/agent', 'sbin/agent']);

/**
 * An initial RAM disk and archives that the kernel unpacks after it, over what is there (Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * @throws GuestImageError for a file that is not an archive.
 */
export function extendInitrd(initrd: Uint8Array, archives: readonly Uint8Array[], name: string): Buffer {
  if (!MAGICS.some((magic) => magic.equals(initrd.subarray(0, magic.length))))
    throw new GuestImageError(
      `${name} is not an initial RAM disk that can be added to: give a cpio archive of the form newc, compressed or not`,
    );
  return Buffer.concat([initrd, ...archives].flatMap((bytes) => [bytes, new Uint8Array(-bytes.length & 3)]));
}

/** Whether an initial RAM disk has the agent, as far as can be seen: it is not looked into one that is compressed. */
export function hasAgent(initrd: Uint8Array): boolean {
  for (const { path } of readCpio(Buffer.from(initrd.buffer, initrd.byteOffset, initrd.length)))
    if (AGENTS.has(path.replace(/^(\.?\/)+/, ''))) return true;
  return false;
}

/** An archive with the programs that run the agent in somebody else's initial RAM disk, in a directory `place` of their own. */
export function agentArchive(programs: { init: Uint8Array; agent: Uint8Array }, place: string): Buffer {
  const archive = new CpioArchive();
  // Where commands run.
  archive.directory('root', 0o700);
  archive.directory(place);
  archive.file(`${place}/init`, programs.init, 0o755);
  archive.file(`${place}/agent`, programs.agent, 0o755);
  return archive.toBuffer();
}
