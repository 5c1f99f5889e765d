import type { MachineFlags } from './options.ts';
import { bootWithShares, keepShares } from './run.ts';

/** Ctrl-], as in telnet. */
const LEAVE = 0x1d;

/** An interactive shell in a guest, on this process's terminal. Returns its exit code, 0 when left by Ctrl-]. */
export async function shell(flags: MachineFlags): Promise<number> {
  const { stdin, stdout, stderr } = process;
  const vm = await bootWithShares(flags);
  try {
    const size = () => ({ columns: stdout.columns ?? 80, rows: stdout.rows ?? 24 });
    const terminal = vm.spawn(['/bin/sh', '-l'], { cwd: vm.shares[0]!.mountPoint, env: { TERM: process.env['TERM'] ?? 'vt100' }, pty: size() });
    if (stdin.isTTY) {
      stderr.write('\x1b[2mCtrl-] leaves the guest.\x1b[22m\n');
      stdin.setRawMode(true);
    }
    terminal.onStdout = (data) => stdout.write(data);
    stdout.on('resize', () => terminal.resize(size().columns, size().rows));
    const left = new Promise<number>((resolve) => {
      stdin.on('data', (data: Buffer) => {
        const leave = stdin.isTTY ? data.indexOf(LEAVE) : -1;
        void terminal.write(leave < 0 ? data : data.subarray(0, leave));
        if (leave >= 0) resolve(0);
      });
      stdin.on('end', () => void terminal.write(Buffer.of(4)));
    });
    const code = await Promise.race([terminal.exited, left]);
    if (stdin.isTTY) stdin.setRawMode(false);
    stderr.write('\n');
    return code || await keepShares(vm, flags);
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.destroy();
    await vm.stop();
  }
}
