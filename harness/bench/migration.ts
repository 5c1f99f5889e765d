import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { makeToken } from '../../device/index.ts';
import { PACKAGE_ROOT } from '../../guest-images/paths.ts';
import { duplexChannel } from '../node/migration/duplex-channel.ts';
import { Vm } from '../node/vm.ts';
import { type BenchRow, Collector, type Measure } from './report.ts';

export const GUESTS = ['idle', 'verified I/O'] as const;

const TOKEN = makeToken();
const DOWNTIME: Measure = { name: 'guest is paused', unit: 'ms', isRate: false };
const TIME: Measure = { name: 'whole migration', unit: 'ms', isRate: false };
const ROUNDS: Measure = { name: 'rounds', unit: '', isRate: false };
const BYTES: Measure = { name: 'sent', unit: 'MB', isRate: false };
const USED: Measure = { name: 'sent, to memory in use', unit: '×', isRate: false };
/** Writes files, reads them back and compares, for ever. */
const LOAD =
  'cd /mnt/share; n=0; while :; do n=$((n+1)); dd if=/tmp/data of=new bs=$((n % 50 * 100 + 100)) count=20 2>/dev/null; dd if=/tmp/data bs=$((n % 50 * 100 + 100)) count=20 2>/dev/null | cmp - new || exit 1; mv new old; done';

/** Migrations of a guest with 256 MiB to another process of this computer, over TCP. */
export async function benchMigration(rounds: number, onProgress: (message: string) => void): Promise<BenchRow[]> {
  const collector = new Collector(GUESTS);
  for (let round = 1; round <= rounds; round++) {
    for (const guest of GUESTS) {
      onProgress(`round ${round} of ${rounds}: ${guest}`);
      const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
      try {
        await vm.mount('share');
        await vm.exec('dd if=/dev/urandom of=/tmp/data bs=64k count=4 2>/dev/null');
        if (guest !== 'idle') await vm.exec(`sh -c '${LOAD}' > /dev/null 2>&1 &`);
        const { stdout } = await vm.exec(
          "awk '/MemTotal/ { total = $2 } /MemFree/ { free = $2 } END { print total - free }' /proc/meminfo",
        );
        const { port, end } = await startDestination();
        const socket = connect(port, 'localhost');
        const started = performance.now();
        const result = await vm.migrate(duplexChannel(socket, socket), { token: TOKEN });
        collector.add(guest, DOWNTIME, result.downtime);
        collector.add(guest, TIME, performance.now() - started);
        collector.add(guest, ROUNDS, result.rounds);
        collector.add(guest, BYTES, result.bytes / 1e6);
        collector.add(guest, USED, result.bytes / (Number(stdout) * 1024));
        end();
      } finally {
        await vm.stop();
      }
    }
  }
  return collector.rows();
}

async function startDestination(): Promise<{ port: number; end: () => void }> {
  const cli = join(PACKAGE_ROOT, 'dist/cli/v86-virtiofs.mjs');
  if (!existsSync(cli)) throw new Error('the command line is not compiled: run `npm run build:library` first');
  const child = spawn(process.execPath, [cli, 'serve', '--incoming', '0', '--token', TOKEN], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.stderr.on('data', (data: Buffer) => {
      const [, found] = /:(\d+)/.exec(data.toString()) ?? [];
      if (found) resolve(Number(found));
    });
    child.once('exit', (code) => reject(new Error(`the destination has ended with ${code}`)));
  });
  return { port, end: () => child.kill() };
}
