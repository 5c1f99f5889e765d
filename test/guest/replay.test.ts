import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  type FileSystem,
  MemoryFileSystem,
  type ReplayDifference,
  type ReplayOptions,
  RequestRecorder,
  readRecording,
  replayRequests,
} from '../../device/index.ts';
import { LiveDirectory } from '../../harness/node/live/live-directory.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useCli } from '../support/cli.ts';

/** What the guest does, with all that a filesystem has. */
const SESSION = `
set -e
mkdir -p dir/inner; echo one > dir/a; echo two > dir/b; cat dir/a dir/b
ln dir/a dir/hard; ln -s a dir/soft; readlink dir/soft; stat -c '%h %s %F' dir/a
cp /bin/busybox large; cmp large /bin/busybox; dd if=/dev/zero of=large bs=1 count=1 seek=5000000 conv=notrunc 2>/dev/null
truncate -s 100 large; wc -c < large; chmod 600 large; chown 1:2 large; touch -d '2001-02-03 04:05:06' large
mkfifo fifo; mknod null c 1 3
for n in $(seq 300); do echo $n > dir/inner/$n; done
ls -l dir/inner | wc -l; ls dir; rm dir/inner/1*
mv dir/b dir/c; mv dir/inner other; ls other | wc -l
echo more >> dir/a; exec 7< dir/a; rm dir/a; cat <&7; exec 7<&-
for kind in posix ofd flock; do echo | locker $kind lock try; done; echo | locker flock lock wait
cat none 2>/dev/null || echo none; mkdir dir 2>/dev/null || echo there; rmdir other 2>/dev/null || echo full
sync; find . | sort | head -50 | wc -l; df . > /dev/null
rm -r other; ls -la
`;

async function replay(
  recording: Uint8Array[],
  filesystem: FileSystem,
  options: ReplayOptions = {},
): Promise<{ requests: number; skipped: number; told: ReplayDifference[] }> {
  const told: ReplayDifference[] = [];
  const { requests, skipped } = await replayRequests(readRecording(recording), filesystem, {
    ...options,
    onDifference: (difference) => told.push(difference),
  });
  return { requests, skipped, told };
}

describe('replay of what a guest has asked', function () {
  this.timeout(300_000);
  const directory = mkdtempSync(join(tmpdir(), 'replay-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const recording: Uint8Array[] = [];
  let count = 0;

  before(async () => {
    const vm = await Vm.boot({ shares: [{ tag: 'share', locks: 'shared' }] });
    try {
      const recorder = new RequestRecorder(vm.share().device, (bytes) => recording.push(bytes));
      const cwd = await vm.mount();
      await vm.exec(SESSION, { cwd, check: true });
      await vm.exec('echo 3 > /proc/sys/vm/drop_caches; ls -R > /dev/null; umount /mnt/share', { check: true });
      recorder.stop();
      count = recorder.count;
    } finally {
      await vm.stop();
    }
  });

  it('agrees with the filesystem that it was recorded of', async () => {
    const { requests, skipped, told } = await replay(recording, new MemoryFileSystem(), { locks: 'shared' });
    expect(told).to.deep.equal([]);
    expect([requests, skipped]).to.deep.equal([count, 0]);
    expect(count).to.be.above(1000);
  });

  it('tells what a directory of the host does otherwise, and nothing else', async () => {
    chmodSync(directory, 0o755);
    const filesystem = LiveDirectory.open(directory);
    const { requests, skipped, told } = await replay(recording, filesystem, { locks: 'shared' });
    filesystem.end();
    const differences = new Set(
      told.map(({ opcode, path, recorded, replayed }) =>
        [opcode, opcode === 'GETXATTR' ? '' : path, recorded, replayed].join(' '),
      ),
    );
    // What Node can't do: docs/live-directories.md.
    expect([...differences].sort()).to.deep.equal([
      'GETXATTR  ENODATA EOPNOTSUPP',
      'MKNOD /fifo ok EPERM',
      'MKNOD /null ok EPERM',
      'READDIRPLUS /fifo there missing',
      'READDIRPLUS /null there missing',
    ]);
    expect(requests + skipped).to.equal(count);
    expect(skipped).to.be.below(20);
    expect(readFileSync(join(directory, 'dir/c'), 'utf8')).to.equal('two\n');
  });

  it('tells what is missing and what is other, request by request', async () => {
    const small = await replay(recording, new MemoryFileSystem({ size: 300_000 }), { locks: 'shared' });
    const [first] = small.told;
    expect(first).to.include({ opcode: 'WRITE', path: '/large', what: 'answer', recorded: 'ok', replayed: 'ENOSPC' });
    const readOnly = await replay(recording, new MemoryFileSystem(), { locks: 'shared', readOnly: true });
    expect(readOnly.told[0]).to.include({ opcode: 'MKDIR', path: '/dir', recorded: 'ok', replayed: 'EROFS' });
    expect(readOnly.skipped).to.be.above(100);
    const alone = await replay(recording, new MemoryFileSystem(), { locks: 'guest' });
    expect(new Set(alone.told.map(({ replayed }) => replayed))).to.deep.equal(new Set(['ENOSYS']));
  });

  it('is a command', async () => {
    const { run } = cli;
    const file = join(directory, 'recorded');
    const recorded = await run(['run', '--record', file, '--', 'sh', '-c', 'mkdir a; echo x > a/b; ls -l a; exit 3']);
    expect(recorded.code, recorded.stderr).to.equal(3);
    const same = await run(['replay', file]);
    expect(same).to.deep.include({ code: 0, stdout: '' });
    expect(same.stderr).to.match(/^\d+ requests were asked again, 0 differences were found\n$/);
    const live = join(directory, 'live');
    const other = await run(['replay', file, '--share', file.replace(/recorded$/, 'dir')]);
    expect(other.code, other.stderr).to.equal(0);
    writeFileSync(join(directory, 'dir/a'), 'a file');
    const json = await run(['replay', '--json', file, '--share', join(directory, 'dir'), '--live']);
    expect(json.code).to.equal(1);
    const { differences } = JSON.parse(json.stdout) as { differences: ReplayDifference[] };
    expect(differences[0]).to.include({ path: '/a', what: 'answer', recorded: 'ENOENT', replayed: 'ok' });
    expect((await run(['replay', file, '--share', live, '--live'])).stderr).to.match(/it is not a directory/);
    writeFileSync(file, readFileSync(file).subarray(0, -5));
    expect(await run(['replay', file])).to.deep.include({ code: 125 });
  });

  const cli = useCli();
});
