import type { Vm } from '../vm.ts';
import { type ExecFlags, execution, withinTime } from './exec-options.ts';
import { keepingShares } from './keep.ts';
import { dim, type MachineFlags } from './options.ts';
import { onOutputLost, pass, put } from './output.ts';
import { bootWithShares, onStdio } from './run.ts';
import { passingSignals } from './signals.ts';

/** The one that the guest's init has chosen. */
const LOGIN_SHELL = ['/bin/sh', '-c', 'exec "${SHELL:-/bin/sh}" -l'];
/** Ctrl-], as in telnet. */
const LEAVE = 0x1d;
const CTRL_C = Uint8Array.of(3);

/** An interactive shell in a guest, on this process's terminal. Returns its exit code, 0 when left by Ctrl-]. */
export async function shell(flags: MachineFlags): Promise<number> {
  const vm = await bootWithShares(flags);
  try {
    return await keepingShares(vm, flags, () => shellIn(vm, flags));
  } finally {
    process.stdin.destroy();
    await vm.stop();
  }
}

/** A shell in a guest that is there. Without a terminal it reads its commands from stdin, as any shell, and has no terminal either. */
export async function shellIn(vm: Vm, flags: ExecFlags): Promise<number> {
  const { stdin, stdout, stderr } = process;
  const { argv, options } = execution(vm, LOGIN_SHELL, flags);
  if (!stdin.isTTY) return onStdio(vm.spawn(argv, { ...options, isKept: false }), flags.timeout);
  const size = () => ({ columns: stdout.columns ?? 80, rows: stdout.rows ?? 24 });
  const terminal = vm.spawn(argv, {
    ...options,
    env: { TERM: process.env['TERM'] ?? 'vt100', ...flags.env },
    pty: size(),
  });
  stderr.write(`${dim('Ctrl-] leaves the guest.')}\n`);
  stdin.setRawMode(true);
  terminal.onStdout = (data) => pass('stdout', data);
  const stopListening = onOutputLost(() => terminal.kill('SIGHUP'));
  stdout.on('resize', () => terminal.resize(size().columns, size().rows));
  const left = new Promise<number>((resolve) => {
    stdin.on('data', (data: Buffer) => {
      const leave = data.indexOf(LEAVE);
      terminal.write(leave < 0 ? data : data.subarray(0, leave)).catch(() => {});
      if (leave >= 0) resolve(0);
    });
    // The terminal has gone.
    stdin.on('end', () => terminal.kill('SIGHUP')).on('error', () => terminal.kill('SIGHUP'));
  });
  try {
    // A shell at its prompt is deaf to all but these.
    return await passingSignals(
      terminal,
      () => withinTime(terminal, flags.timeout, Promise.race([terminal.exited, left])),
      (signal) => {
        if (signal === 'SIGINT') terminal.write(CTRL_C).catch(() => {});
        else terminal.kill('SIGHUP');
      },
    );
  } finally {
    stopListening();
    stdin.setRawMode(false);
    put('stderr', '\n');
  }
}
