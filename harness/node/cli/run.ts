import type { GuestProcess } from '../../machine/agent/guest-agent.ts';
import { printable } from '../../machine/printable.ts';
import { Vm } from '../vm.ts';
import type { VmOptions } from '../vm-options.ts';
import { type ExecFlags, execution, withinTime } from './exec-options.ts';
import { checkTargets, keepingShares } from './keep.ts';
import { type MachineFlags, machineOptions } from './options.ts';
import { onOutputLost, pass, put } from './output.ts';
import { RecordingFile } from './recording.ts';
import { tellingResults } from './results.ts';
import { passingSignals } from './signals.ts';

/** Runs `argv` in a guest, in the first share's directory, on this process's stdio. Returns its exit code. */
export async function run(argv: string[], flags: MachineFlags): Promise<number> {
  const recording = flags.record === undefined ? undefined : new RecordingFile(flags.record);
  return tellingResults(argv, flags, async (onStdout) => {
    const vm = await bootWithShares(flags, {}, (booted) => recording?.begin(booted));
    try {
      return await keepingShares(vm, flags, () => runIn(vm, argv, flags, onStdout));
    } finally {
      await vm.stop();
      recording?.end();
    }
  });
}

/** A guest with its shares mounted. What could not be taken into them is said. */
export async function bootWithShares(
  flags: MachineFlags,
  more: VmOptions = {},
  onBooted?: (vm: Vm) => void,
): Promise<Vm> {
  await checkTargets(flags);
  const vm = await bootMounted({ ...machineOptions(flags), ...more }, onBooted);
  tellSkipped(vm);
  return vm;
}

/** A guest with its shares mounted. `onBooted` is called before they are. */
export async function bootMounted(options: VmOptions, onBooted?: (vm: Vm) => void): Promise<Vm> {
  const vm = await Vm.boot(options);
  return vm.orStop(async () => {
    onBooted?.(vm);
    for (const { tag } of vm.shares) await vm.mount(tag);
    return vm;
  });
}

/** Says what could not be taken into the shares. */
export function tellSkipped(vm: Vm): void {
  for (const { source, skipped } of vm.shares)
    for (const { path, reason } of skipped)
      process.stderr.write(`${printable(`not taken from ${source}: ${path}: ${reason}`)}\n`);
}

/** Runs `argv` in a guest that is there, as {@link run}. Takes this process's stdin for good. */
export function runIn(vm: Vm, argv: string[], flags: ExecFlags, onStdout?: GuestProcess['onStdout']): Promise<number> {
  const { argv: words, options } = execution(vm, argv, flags);
  return onStdio(vm.spawn(words, { ...options, isKept: false }), flags.timeout, onStdout);
}

/** Connects a command in a guest to this process: its stdio, for good, and its signals. Returns the exit code. */
export async function onStdio(
  child: GuestProcess,
  timeout?: number,
  onStdout: GuestProcess['onStdout'] = (data) => pass('stdout', data),
): Promise<number> {
  child.onStdout = onStdout;
  child.onStderr = (data) => pass('stderr', data);
  // As the kernel does with those who write to a pipe that nobody reads.
  const stopListening = onOutputLost(() => child.kill('SIGPIPE'));
  void feed(child);
  try {
    return await passingSignals(child, () => withinTime(child, timeout, child.exited));
  } finally {
    stopListening();
    process.stdin.destroy();
  }
}

/** Passes this process's stdin on, as fast as the guest takes it. Never rejects: when the command ends first, nobody is left to take the rest. */
async function feed(child: GuestProcess): Promise<void> {
  let hasFailed = false;
  process.stdin.once('error', (error) => {
    hasFailed = true;
    put('stderr', `v86-virtiofs: can't read stdin, so it ends here: ${printable(error.message)}\n`);
  });
  try {
    for await (const data of process.stdin) await child.write(data as Buffer);
  } catch {
    if (!hasFailed) return;
  }
  child.closeStdin();
}
