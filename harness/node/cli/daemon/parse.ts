import { resolve } from 'node:path';
import type { Command } from 'commander';
import { defaultDriver, defaultKernel, isNamed } from '../../image.ts';
import { imageLocation } from '../../images/share-image.ts';
import type { VmOptions } from '../../vm-options.ts';
import type { MachineFlags } from '../options.ts';

/** A command line that a machine of the daemon may run. */
export interface Task {
  command: 'run' | 'shell';
  /** Of `run`. */
  argv: string[];
  flags: MachineFlags;
}

/** Reads a command line of `program`, which is of no use afterwards, without running it. Undefined for one that is wrong, or of another command: whoever runs it says what there is to say. */
export function readTask(program: Command, args: string[]): Task | undefined {
  let task: Task | undefined;
  const command = program.commands.find((each) => each.name() === args[0]);
  const name = command?.name();
  if (!command || (name !== 'run' && name !== 'shell')) return undefined;
  command.configureOutput({ writeOut: () => {}, writeErr: () => {} });
  if (name === 'run')
    command.action((argv: string[], flags: MachineFlags) => {
      task = { command: name, argv, flags };
    });
  else
    command.action((snapshot: string | undefined, flags: MachineFlags) => {
      if (snapshot === undefined && command.getOptionValueSource('store') !== 'cli')
        task = { command: name, argv: [], flags };
    });
  try {
    program.parse(args, { from: 'user' });
  } catch {
    return undefined;
  }
  return task;
}

/** Why no machine that waits can be one with these flags, whatever it is. */
export function unfit({ root, cache, record, share = [] }: MachineFlags): string | undefined {
  if (share.some((source) => imageLocation(source) !== undefined)) return 'a share of an image is plugged in with it';
  if (root !== undefined) return 'a guest with --root boots from that';
  if (record !== undefined) return '--record begins before a share is mounted';
  if (!cache) return '--no-cache asks for a boot';
  return undefined;
}

/** What has to be the same for a machine that waits to be the one that is asked for: compare the texts. `cwd`: what its paths are relative to. */
export function shapeOf(options: VmOptions, cwd = process.cwd()): string {
  const { memory, initrd, modules, bios, cmdline, bootMethod, shares = [] } = options;
  const path = (name: string | undefined) => (name === undefined ? undefined : resolve(cwd, name));
  const kernel = options.kernel ?? defaultKernel();
  return JSON.stringify({
    memory,
    kernel: isNamed(kernel) ? kernel : path(kernel),
    driver: options.driver ?? defaultDriver(kernel),
    initrd: path(initrd),
    modules: path(modules),
    bios: path(bios),
    cmdline,
    bootMethod,
    shares: shares.map(({ tag, size, xattr, live, setIds, source }) => ({
      tag,
      size,
      xattr,
      ...(live && { live: path(source), setIds }),
    })),
  });
}
