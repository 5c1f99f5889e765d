import { checkSaveTarget, checkWriteBackTarget } from '../archive.ts';
import type { GuestProcess } from '../guest-agent.ts';
import { printable } from '../printable.ts';
import { Vm } from '../vm.ts';
import type { VmOptions } from '../vm-options.ts';
import { machineOptions, progressReporter, type MachineFlags } from './options.ts';

/** Runs `argv` in a guest, in the first share's directory, on this process's stdio. Returns its exit code. */
export async function run(argv: string[], flags: MachineFlags): Promise<number> {
  const vm = await bootWithShares(flags);
  try {
    const code = await runIn(vm, argv);
    return code || await keepShares(vm, flags);
  } finally {
    await vm.stop();
  }
}

/** A guest with its shares mounted. What could not be taken into them is said. */
export async function bootWithShares(flags: MachineFlags, more: VmOptions = {}): Promise<Vm> {
  await checkTargets(flags);
  const vm = await Vm.boot({ ...machineOptions(flags), ...more });
  try {
    for (const { tag, source, skipped } of vm.shares) {
      for (const { path, reason } of skipped) process.stderr.write(`${printable(`not taken from ${source}: ${path}: ${reason}`)}\n`);
      await vm.mount(tag);
    }
    return vm;
  } catch (error) {
    await vm.stop();
    throw error;
  }
}

/** Before anything runs, so that nothing is done in vain. @throws VmError `configuration` for where `--save` and `--write-back` can't write. */
async function checkTargets({ share = [], writeBack, save }: MachineFlags): Promise<void> {
  if (save !== undefined) await checkSaveTarget(save);
  if (writeBack) for (const source of share) await checkWriteBackTarget(source);
}

/** Runs `argv` in a guest that is there, as {@link run}. Takes this process's stdin for good. */
export async function runIn(vm: Vm, argv: string[]): Promise<number> {
  const child = vm.spawn(argv, { cwd: vm.shares[0]?.mountPoint });
  child.onStdout = (data) => process.stdout.write(data);
  child.onStderr = (data) => process.stderr.write(data);
  // When the command ends first, nobody is left to take the rest.
  feed(child).catch(() => {});
  try {
    return await child.exited;
  } finally {
    process.stdin.destroy();
  }
}

/** Does what `--write-back` and `--save` ask for. Returns 0, or 1 when something could not be kept, which is said. */
export async function keepShares(vm: Vm, { writeBack, owners, save, verbose }: MachineFlags): Promise<number> {
  if (!writeBack && !save) return 0;
  await vm.exec(['sync']);
  let failures = 0;
  const tell = (place: string, left: { path: string; reason: string }[]) => {
    for (const { path, reason } of left) process.stderr.write(`${printable(`not written to ${place}: ${path}: ${reason}`)}\n`);
    failures += left.length;
  };
  for (const share of writeBack ? vm.shares : []) if (share.source) tell(share.source, await share.writeBack({ owners }));
  if (save) {
    const onProgress = progressReporter(verbose);
    const left = await vm.shares[0]!.save(save, (files, bytes) => onProgress(`saving ${save}: ${files} files, ${(bytes / 1e6).toFixed(1)} MB`));
    onProgress('');
    tell(save, left);
  }
  return failures ? 1 : 0;
}

/** Passes this process's stdin on, as fast as the guest takes it. */
async function feed(child: GuestProcess): Promise<void> {
  for await (const data of process.stdin) await child.write(data as Buffer);
  child.closeStdin();
}
