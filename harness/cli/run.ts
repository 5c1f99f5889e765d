import type { GuestProcess } from '../guest-agent.ts';
import { Vm } from '../vm.ts';
import { machineOptions, type MachineFlags } from './options.ts';

/** Runs `argv` in a guest, in the first share's directory, on this process's stdio. Returns its exit code. */
export async function run(argv: string[], flags: MachineFlags): Promise<number> {
  const vm = await Vm.boot(machineOptions(flags));
  try {
    for (const share of vm.shares) await vm.mount(share.tag);
    const code = await runIn(vm, argv);
    const kept = flags.writeBack ? await writeBackShares(vm) : 0;
    return code || kept;
  } finally {
    await vm.stop();
  }
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

/** Returns 0, or 1 when something had to stay as the host has it. */
export async function writeBackShares(vm: Vm): Promise<number> {
  await vm.exec(['sync']);
  let failures = 0;
  for (const share of vm.shares) {
    if (!share.directory) continue;
    const { kept } = share.writeBack();
    for (const { path, reason } of kept) process.stderr.write(`not written back: ${share.directory}/${path}: ${reason}\n`);
    failures += kept.length;
  }
  return failures ? 1 : 0;
}

/** Passes this process's stdin on, as fast as the guest takes it. */
async function feed(child: GuestProcess): Promise<void> {
  for await (const data of process.stdin) await child.write(data as Buffer);
  child.closeStdin();
}
