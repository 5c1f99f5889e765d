import type { Check } from './check.ts';

const MAX_FREE = 64 << 20;
const PIECE = 1 << 16;

/** A full filesystem. */
export const QUOTAS: Check = {
  subject: 'quotas',
  name: 'what is full says ENOSPC, and what is deleted is free again',
  needs: ['writable', 'quotas'],
  async run(session) {
    const free = async () => {
      const { bavail, frsize } = (await session.ask('STATFS', 1)).out.st;
      return Number(bavail) * frsize;
    };
    const atFirst = await free();
    if (atFirst > MAX_FREE)
      throw new Error(`${atFirst} bytes are free: give the suite a filesystem with ${MAX_FREE} bytes at most`);
    const fill = async (name: string): Promise<number> => {
      await session.step(`open a ${name} O_CREAT|O_RDWR`);
      const piece = 'x'.repeat(PIECE);
      let written = 0;
      for (;;) {
        const result = await session.step(`write a ${written} ${piece}`);
        if (result === 'ENOSPC') break;
        if (result !== String(PIECE)) throw new Error(`a write of ${PIECE} bytes at ${written}: ${result}`);
        written += PIECE;
        if (written > atFirst) throw new Error(`${written} bytes were written where ${atFirst} bytes were free`);
      }
      await session.step('close a');
      return written;
    };
    const first = await fill('f');
    if (first < atFirst / 2) throw new Error(`${first} bytes were written where ${atFirst} bytes were free`);
    if ((await free()) > atFirst - first) throw new Error(`${first} bytes were written, and statfs tells of less`);
    await session.step('unlink f');
    // What the guest still knows is not gone.
    await session.step('dropcaches');
    const second = await fill('g');
    if (second < first) throw new Error(`${first} bytes were deleted, and there is room for ${second}`);
    await session.step('unlink g');
  },
};
