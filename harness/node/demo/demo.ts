import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { formatBytes } from '../../../device/trees/report.ts';
import { writeSnapshot } from '../stores/snapshot-file.ts';
import { Vm } from '../vm.ts';
import { Lines } from './lines.ts';
import { Story } from './story.ts';

/** What the second process has to know of the first one's. */
export interface HandOver {
  snapshot: string;
  /** The guest process that goes on, by the agent's id. */
  process: number;
  pid: number;
  step: number;
  /** CRC-32 of the second half of the book. */
  bookCrc: number;
  bookHalf: number;
  /** Entries that the guest has read already. */
  entriesRead: string[];
}

const BOOK_SIZE = 3_000_000;
/** More than a guest's directory buffer holds: the rest has to be asked for after the freeze. */
export const CHAPTERS = Array.from({ length: 300 }, (_, n) => `chapter-${n + 1}`);
/** `npm start`: tells and checks the whole story. Returns the exit code; throws when something is not as it should be. */
export async function demo(): Promise<number> {
  const story = new Story();
  story.title(
    'A Linux guest, frozen with its files open, goes on in another process',
    'An unmodified Debian kernel in the v86 emulator shares an in-memory folder with this program over virtio-fs.',
  );

  story.step('Boot the guest');
  const vm = await story.time('Linux is up: a guest from the cache, or booted now and kept there for next time', () =>
    Vm.boot({ shares: [{ tag: 'share' }], onProgress: (text) => story.status(text) }),
  );
  const directory = await mkdtemp(join(tmpdir(), 'v86-virtiofs-demo-'));
  try {
    const handOver = await firstHalf(story, vm, join(directory, 'guest.snapshot'));
    await vm.stop();
    const child = spawn(
      process.execPath,
      [...process.execArgv, process.argv[1]!, 'demo', '--second-half', JSON.stringify(handOver)],
      { stdio: 'inherit' },
    );
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    if (code === null) throw new Error(`the second process was ended by ${signal}`);
    // It has said why.
    if (code !== 0) return code;
    console.log(
      `\nAll of it checked, in ${story.elapsed}. Try it yourself: ${process.argv[1]!.endsWith('.ts') ? 'npx tsx harness/node/cli.ts' : 'npx v86-virtiofs'} shell --share .\n`,
    );
    return 0;
  } finally {
    await vm.stop();
    await rm(directory, { recursive: true });
  }
}

async function firstHalf(story: Story, vm: Vm, snapshot: string): Promise<HandOver> {
  const { fs } = vm.share();
  const { stdout: kernel } = await vm.exec('uname -sr');
  story.say(`It runs ${kernel.trim()}, in a process of ${formatBytes(process.memoryUsage.rss())}.`);

  story.step('Mount the share: mount -t virtiofs share /mnt/share');
  await vm.mount('share');
  fs.writeFileSync('/from-host', 'hello from the host\n');
  const { stdout: read } = await vm.exec('cat /mnt/share/from-host');
  story.check(read === 'hello from the host\n', 'the guest reads a file that the host wrote');
  await vm.exec('echo hello from the guest > /mnt/share/from-guest');
  story.check(
    fs.readFileSync('/from-guest', 'utf8') === 'hello from the guest\n',
    'the host reads a file that the guest wrote',
  );

  story.step('A guest process opens files, and stops half way');
  const book = crypto.getRandomValues(new Uint8Array(65536));
  const file = fs.openSync('/book', 'w');
  for (let at = 0; at < BOOK_SIZE; at += book.length)
    fs.writeSync(file, book, 0, Math.min(book.length, BOOK_SIZE - at));
  fs.closeSync(file);
  fs.mkdirSync('/chapters');
  for (const name of CHAPTERS) fs.writeFileSync(`/chapters/${name}`, name);
  const holder = vm.spawn(['holder', '/mnt/share']);
  const lines = await new Lines(holder).until('ready');
  const entriesRead = lines.map((line) => line.replace(/^entry /, ''));
  story.check(
    entriesRead.length === 5,
    `process ${holder.pid} has read half of a file of ${formatBytes(BOOK_SIZE)}, and ${entriesRead.length} of the ${CHAPTERS.length + 2} entries of a directory`,
  );
  story.check(
    !fs.existsSync('/secret'),
    'it has written a file, deleted it, and still has it open; nobody else can see it any more',
  );
  const content = fs.readFileSync('/book') as Uint8Array;
  const half = content.subarray(content.length / 2);

  story.step('Freeze: the whole machine, its FUSE session and its files become one file on disk');
  await story.time('frozen and written', async () => writeSnapshot(snapshot, await vm.save()));
  story.say(`${formatBytes((await stat(snapshot)).size)} in ${snapshot}. This emulator is thrown away now.`);
  return {
    snapshot,
    process: holder.id,
    pid: holder.pid!,
    step: story.stepNumber,
    bookCrc: crc32(half),
    bookHalf: half.length,
    entriesRead,
  };
}
