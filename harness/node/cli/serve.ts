import { resolve } from 'node:path';
import { MigrationTarget } from '../../../device/index.ts';
import { joinSignals } from '../../../device/join-signals.ts';
import { snapshotDirectory } from '../../../guest-images/paths.ts';
import { CommandError, VmError } from '../../machine/errors.ts';
import { unlessAborted } from '../../machine/unless-aborted.ts';
import { treesOf } from '../images/shared-images.ts';
import { DirectoryFates } from '../migration/directory-fates.ts';
import { makePlan } from '../plan.ts';
import { isInBucket } from '../stores/open-files.ts';
import { type MigratedVm, Vm } from '../vm.ts';
import { type Endpoint, fingerprintNote, listen, openEndpoint, STDIO } from './endpoint.ts';
import type { ExecFlags } from './exec-options.ts';
import { checkRestoredTargets, checkTargets, type KeepFlags, keepingShares } from './keep.ts';
import { checkTarget, chooseToken, type LinkFlags, moveOut, openTarget, say, TOKEN_VARIABLE } from './move-out.ts';
import { thawOptions } from './options.ts';
import { runIn } from './run.ts';
import { breakingOff } from './signals.ts';
import { openStore } from './store.ts';

/** Milliseconds that a source may take to ask what became of its machine: it waits 30 s for an answer that is lost. */
const ASKING = 35_000;

export async function serve(
  argv: string[],
  { incoming, to, ...flags }: LinkFlags & KeepFlags & ExecFlags & { incoming: string; to?: string },
): Promise<void> {
  await checkTargets(flags);
  if (to !== undefined) checkTarget(to, flags);
  // Builds the image too, where there is none: nobody waits for that yet.
  await makePlan(thawOptions(flags));
  await treesOf(flags.image);
  const { secret, isGiven, note } = chooseToken(flags);
  if (!isGiven && incoming === STDIO)
    throw new VmError('configuration', `give the token that \`migrate\` has, by --token or in ${TOKEN_VARIABLE}`);
  const { make, ...options } = Vm.takeOver(secret, thawOptions(flags)).options;
  let taken = '';
  let heard = () => {};
  const isKnown = new Promise<void>((resolve) => (heard = resolve));
  const target = new MigrationTarget<MigratedVm>({
    ...options,
    make: (description) => {
      taken = description.id;
      return make(description);
    },
    onKnown: (id) => id === taken && heard(),
    maxMachines: 1,
    fates: fatesBeside(flags.store),
    onProblem: ({ message }) => say(`it has arrived, but ${message}`),
  });
  let listener: { address: string; close(): void } | undefined;
  let vm: Vm | undefined;
  let takenAt = 0;
  try {
    if (incoming === STDIO) {
      vm = (await target.serve(await (await openEndpoint(STDIO, secret, flags)).connect()))?.vm;
    } else {
      let arrived: (vm: Vm) => void;
      const arrival = new Promise<Vm>((resolve) => (arrived = resolve));
      // Each connection by itself: one that says nothing is in nobody's way.
      listener = await listen(incoming, flags, (channel) => {
        target.serve(channel).then(
          (successor) => successor && arrived(successor.vm),
          (error: Error) => say(`not taken over: ${error.message}`),
        );
      });
      say(`waiting on ${listener.address}${note}${fingerprintNote(incoming, flags)}`);
      vm = await arrival;
    }
    if (!vm) return;
    takenAt = performance.now();
    const { life } = vm;
    const isIdle = !argv.length && to === undefined;
    // Whoever reads that it is here may end it at once.
    const ended = isIdle ? interruption(life.signal) : undefined;
    ended?.catch(() => {});
    if (flags.verbose || !argv.length) say(`taken over: it runs here now${isIdle ? '; Ctrl-C ends it' : ''}`);
    try {
      checkRestoredTargets(vm, flags);
    } catch (error) {
      throw await keptInStead(vm, flags, error as Error);
    }
    process.exitCode = await keepingShares(vm, flags, async () => {
      if (argv.length) return runIn(vm!, argv, flags);
      await ended;
      return 0;
    }).catch(async (error: Error) => {
      throw life.signal.aborted ? error : await keptInStead(vm!, flags, error);
    });
    if (to !== undefined) await moveOn(vm, to, flags);
  } finally {
    await vm?.stop();
    // The other side asks here when it has not heard that its machine runs.
    if (listener && takenAt) await whileItMayAsk(isKnown, takenAt + ASKING - performance.now());
    listener?.close();
  }
}

/** Settles when the other side knows what became of its machine, when it has had its time, or when somebody ends this process. */
async function whileItMayAsk(isKnown: Promise<void>, milliseconds: number): Promise<void> {
  const { signal, release } = joinSignals([], Math.max(0, milliseconds));
  try {
    await interruption(signal, isKnown);
  } catch {
    // It has had its time.
  } finally {
    release();
  }
}

/** When somebody ends this process, or `action` has. @throws the reason of `signal`. */
async function interruption(signal: AbortSignal, action = new Promise<void>(() => {})): Promise<void> {
  let end = () => {};
  const interrupted = new Promise<void>((resolve) => (end = resolve));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, end);
  try {
    await unlessAborted(signal, Promise.race([action, interrupted]));
  } finally {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeListener(name, end);
  }
}

/** Moves a machine that has come on to another side. It is nowhere else, so it is kept when that fails. */
async function moveOn(vm: Vm, to: string, flags: LinkFlags): Promise<void> {
  const store = await openStore(flags);
  let endpoint: Endpoint | undefined;
  try {
    const out = await openTarget(to, flags);
    endpoint = out.endpoint;
    const code = await breakingOff(undefined, (signal) => moveOut(vm, { ...out, flags, store, signal }));
    process.exitCode ||= code;
  } catch (error) {
    if (error instanceof VmError && error.kind === 'unsettled') throw error;
    throw await keptInStead(vm, flags, new Error(`not moved on: ${(error as Error).message}`, { cause: error }));
  } finally {
    endpoint?.close();
  }
}

/** Keeps a machine that has come and is nowhere else, because of an error. Returns what tells of both. */
async function keptInStead(vm: Vm, flags: LinkFlags, error: Error): Promise<VmError> {
  const kept = await openStore(flags)
    .then((store) => vm.freeze(store))
    .then(
      ({ id }) => `the guest is kept as ${id.slice(0, 12)}: \`v86-virtiofs restore\` resumes it`,
      (reason: Error) => `the guest can't be kept, so it is lost: ${reason.message}`,
    );
  const message = `${error.message}; ${kept}`;
  const options = { cause: error };
  return error instanceof CommandError
    ? new CommandError(message, error.code, options)
    : new VmError('snapshot', message, options);
}

/** Where a `serve` with this store takes down what became of migrations: on this machine. */
function fatesBeside(store: string): DirectoryFates {
  return new DirectoryFates(`${isInBucket(store) ? snapshotDirectory() : resolve(store)}.migrations`);
}
