import { crc32 } from 'node:zlib';
import { Vm } from '../vm.ts';
import { CHAPTERS, type HandOver } from './demo.ts';
import { Lines } from './lines.ts';
import { Story } from './story.ts';

const SECRET = 'written before the freeze, and already deleted\n';

/** The demo's other process: goes on with the machine that the first one froze. */
export async function secondHalf({
  snapshot,
  process: id,
  pid,
  step,
  bookCrc,
  bookHalf,
  entriesRead,
}: HandOver): Promise<void> {
  const story = new Story(step);
  story.step(`Another Node process (${process.pid}, started by ${process.ppid}) restores it`);
  const vm = await story.time('the guest is back', () => Vm.restore(snapshot));
  try {
    const { fs } = vm.share();
    story.check(
      fs.readFileSync('/from-guest', 'utf8') === 'hello from the guest\n',
      'the shared folder is here, and the host reads it',
    );

    story.step('The very same guest process goes on reading');
    const { stdout } = await vm.exec(['cat', `/proc/${pid}/comm`]);
    story.check(stdout === 'holder\n', `process ${pid} is still there: ${stdout.trim()}`);
    const holder = vm.agent.attach(id);
    const lines = new Lines(holder);
    await holder.write('go on\n');
    const told = await lines.until('done');
    const toldOf = (start: string) =>
      told.find((line) => line.startsWith(start)) ?? `nothing of ${start}: ${told.at(-1)}`;
    const hex = (crc: number) => crc.toString(16).padStart(8, '0');

    const book = `book from ${bookHalf} bytes ${bookHalf} crc ${hex(bookCrc)} links 1`;
    story.check(
      toldOf('book') === book,
      `the open file: it read on from byte ${bookHalf}, and the checksum of the rest is right (${hex(bookCrc)})`,
    );
    const rest = SECRET.repeat(990);
    const secret = `secret from ${10 * SECRET.length} bytes ${rest.length} crc ${hex(crc32(rest))} links 0`;
    story.check(
      toldOf('secret') === secret,
      `the deleted file: all of its ${rest.length} bytes, with no name and 0 links (${hex(crc32(rest))})`,
    );
    const entries = told.filter((line) => line.startsWith('entry ')).map((line) => line.slice('entry '.length));
    const expected = ['.', '..', ...CHAPTERS].sort();
    story.check(
      JSON.stringify([...entriesRead, ...entries].sort()) === JSON.stringify(expected),
      `the directory: the ${entries.length} entries that were left, each exactly once`,
    );
    story.check((await holder.exited) === 0, 'and it gave its lock back and ended well');

    await vm.exec('echo and on it goes > /mnt/share/after');
    story.check(fs.readFileSync('/after', 'utf8') === 'and on it goes\n', 'the share works on, both ways');
  } finally {
    await vm.stop();
  }
}
