import { resolve } from 'node:path';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { imageLocation } from '../images/share-image.ts';
import { openLive } from '../live/live-share.ts';
import { checkSaveTarget, checkWriteBackTarget, isArchive } from '../shares/archive.ts';
import type { HostShare } from '../shares/share.ts';
import type { Vm } from '../vm.ts';
import { progressReporter } from './options.ts';
import { finishing } from './signals.ts';

/** What becomes of a guest's shares, as commander gives it. */
export interface KeepFlags {
  /** `true`: to where they came from; of a guest that came back, the directories that its shares may be written to. */
  writeBack?: boolean | string[];
  owners?: boolean;
  save?: string;
  verbose?: boolean;
}

/** Before anything runs, so that nothing is done in vain. @throws VmError `configuration` for where `--save` and `--write-back` can't write. */
export async function checkTargets({
  share = [],
  live,
  size,
  writeBack,
  owners,
  save,
}: KeepFlags & { share?: string[]; live?: boolean | string[]; size?: number }): Promise<void> {
  if (live === true) await checkLive(share, { '--size': size, '--write-back': writeBack, '--save': save });
  else for (const directory of live || []) openLive(directory).end();
  if (owners && !writeBack && live !== true)
    throw new VmError('configuration', '--owners says what --write-back carries back: give that too');
  if (writeBack === true && !share.length)
    throw new VmError(
      'configuration',
      'there is nothing to write back to: give --share DIR with --write-back, or --save FILE for an empty share',
    );
  if (save !== undefined) await checkSaveTarget(save);
  for (const target of writeBack === true ? share : writeBack || []) {
    if (imageLocation(target) !== undefined)
      throw new VmError(
        'configuration',
        `nothing is written back to ${printable(target)}: images never change; give --save`,
      );
    await checkWriteBackTarget(target);
  }
}

/** @throws VmError `configuration` for what makes no sense where nothing is copied. */
async function checkLive(share: string[], others: Record<string, unknown>): Promise<void> {
  if (!share.length) throw new VmError('configuration', '--live says how directories are shared: give --share DIR too');
  const [excess] = Object.entries(others).find(([, value]) => value !== undefined) ?? [];
  if (excess !== undefined)
    throw new VmError(
      'configuration',
      `a live share is the directory itself, so there is nothing for ${excess} to do: leave it out`,
    );
  for (const source of share)
    if (await isArchive(source))
      throw new VmError(
        'configuration',
        `${printable(source)} is not a directory, and can't be shared live: leave out --live`,
      );
}

/** The same for a machine that came back from a snapshot: whether its shares may be written there. @throws VmError `configuration` or `share`. */
export function checkRestoredTargets(vm: Vm, flags: KeepFlags): void {
  for (const _ of backTargets(vm, flags));
  if (flags.save !== undefined) vm.share();
}

/**
 * Does something with a guest, and then what `--write-back` and `--save` ask for, whatever came of it: what has reached the shares is kept when
 * the command fails, and when the guest does not run any more.
 *
 * @returns what `action` returns, or 1 when that is 0 and something could not be kept, which is said.
 * @throws what `action` throws.
 */
export async function keepingShares(vm: Vm, flags: KeepFlags, action: () => Promise<number>): Promise<number> {
  const keep = () => finishing('saving the share; press again to stop', (signal) => keepShares(vm, flags, signal));
  let code: number;
  try {
    code = await action();
  } catch (error) {
    await keep();
    throw error;
  }
  const failures = await keep();
  return code || (failures ? 1 : 0);
}

async function keepShares(vm: Vm, flags: KeepFlags, signal: AbortSignal): Promise<number> {
  const { writeBack, owners, save, verbose } = flags;
  if (!writeBack && !save) return 0;
  let failures = 0;
  try {
    await vm.exec(['sync'], { signal, check: true });
  } catch (error) {
    failures++;
    say(
      `the guest can't sync, so what it has not written to its shares yet is lost: ${(error as Error).message.split('\n', 1)[0]!}`,
    );
  }
  const attempt = async (place: string, action: () => Promise<{ path: string; reason: string }[]>) => {
    try {
      const left = await action();
      for (const { path, reason } of left) say(`not written to ${place}: ${path}: ${reason}`);
      failures += left.length;
    } catch (error) {
      failures++;
      const interrupted = signal.aborted
        ? ': interrupted'
        : error instanceof VmError
          ? `: ${error.message}`
          : undefined;
      if (interrupted === undefined) throw error;
      say(`not written to ${place}${interrupted}`);
    }
  };
  const onProgress = progressReporter(verbose);
  for (const { share, to } of backTargets(vm, flags)) {
    onProgress(`writing back to ${to}`);
    await attempt(to, () => share.writeBack({ owners, signal, ...(writeBack !== true && { to }) }));
    onProgress('');
  }
  if (save) {
    await attempt(save, () =>
      vm.share().save(save, {
        signal,
        onProgress: (files, bytes) => onProgress(`saving ${save}: ${files} files, ${(bytes / 1e6).toFixed(1)} MB`),
      }),
    );
    onProgress('');
  }
  return failures;
}

/** What is to be written back where. @throws VmError for a directory that no share may be written to. */
function* backTargets(vm: Vm, { writeBack }: KeepFlags): Generator<{ share: HostShare; to: string }> {
  if (writeBack === true) {
    for (const share of vm.shares) if (share.source !== undefined) yield { share, to: share.source };
    return;
  }
  for (const to of writeBack || []) {
    const share = vm.shares.find(({ loadedFrom }) => loadedFrom !== undefined && resolve(loadedFrom) === resolve(to));
    if (!share) {
      const known = vm.shares.flatMap(({ loadedFrom }) => loadedFrom ?? []);
      throw new VmError(
        'configuration',
        `no share of this guest was loaded from ${printable(to)}${known.length ? `, but from ${printable(known.join(', '))}` : ''}: write it to an archive with --save`,
      );
    }
    share.checkWriteBack(to);
    yield { share, to };
  }
}

function say(text: string): void {
  process.stderr.write(`${printable(text)}\n`);
}
