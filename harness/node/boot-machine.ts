import type { V86 } from 'v86';
import { V86Machine } from '../../device/v86/adapter.ts';
import { assemble, type MachineParts } from '../machine/assemble.ts';
import { putRootPrograms } from '../machine/boot/root.ts';
import { VmError, type VmErrorKind } from '../machine/errors.ts';
import { BOOT_PATIENCE, PATIENCE } from '../machine/guest-life.ts';
import { attachShare } from '../machine/share.ts';
import { BootCache } from './boot-cache.ts';
import { openLive } from './live/live-share.ts';
import { type Plan, withShares } from './plan.ts';
import { tellingOf } from './shares/load-source.ts';
import { HostShare } from './shares/share.ts';
import type { Snapshot } from './stores/snapshot-file.ts';
import { compileV86 } from './v86.ts';
import type { Vm } from './vm.ts';
import type { ShareOptions } from './vm-options.ts';

type MakeVm = (parts: MachineParts<HostShare>) => Vm;

const UNWELL = new Set<VmErrorKind>(['timeout', 'crashed', 'halted', 'rebooted']);

/**
 * A machine with the plan's shares that is paused, with nothing in it. `base`: one that has booted without shares, which they are plugged into.
 * `emulator`: one that a machine like it has left.
 */
export function makeMachine(plan: Plan, make: MakeVm, more: { base?: Snapshot; emulator?: V86 } = {}): Promise<Vm> {
  return makeWith(plan, plan.shares, make, more);
}

/** A machine whose guest answers, its shares plugged in but not mounted. */
export function bootMachine(plan: Plan, make: MakeVm): Promise<Vm> {
  const { cache, acpi, v86 } = plan.options;
  return cache === false || acpi || v86 || plan.rootPrograms
    ? coldBoot(plan, plan.shares, make)
    : fromCache(plan, make);
}

async function makeWith(
  plan: Plan,
  shares: ShareOptions[],
  make: MakeVm,
  more: { base?: Snapshot; emulator?: V86; v86?: Plan['v86'] },
): Promise<Vm> {
  const { clock, reseed, deterministic, onPanic, onConsole, onProgress } = plan.options;
  const vm = make(
    await assemble({
      clock,
      reseed,
      deterministic,
      onPanic,
      onConsole,
      config: withShares(plan.config, shares),
      wasm: await compileV86(),
      makeShares: (emulator) => {
        if (shares === plan.shares) plan.images.keepFor(V86Machine.of(emulator));
        return shares.map((options, index) => {
          const { source, live, setIds, ...others } = options;
          const isRoot = plan.rootPrograms !== undefined && index === shares.length - 1;
          if (!live) return new HostShare(attachShare(emulator, others), isRoot);
          const filesystem = openLive(source!, setIds);
          V86Machine.of(emulator).onEnd(() => filesystem.end());
          return new HostShare(attachShare(emulator, { ...others, filesystem }));
        });
      },
      v86: { ...plan.v86, ...more.v86 },
      base: more.base,
      emulator: more.emulator,
    }),
  );
  return vm.orStop(async () => {
    if (plan.rebootKernel) vm.bootsAtReset(plan.rebootKernel, plan);
    if (plan.rootPrograms) V86Machine.of(vm.emulator).onReset(() => putPrograms(vm, plan));
    for (const { tag, source, live } of shares) {
      if (source !== undefined && !live) await vm.share(tag).load(source, tellingOf(source, onProgress));
    }
    return vm;
  });
}

/** The plan's shares plugged into a machine that has booted without them: one of the cache, or one that is put there. */
async function fromCache(plan: Plan, make: MakeVm): Promise<Vm> {
  const cache = new BootCache();
  const cached = await cache.load(plan.origin);
  if (cached) {
    try {
      return await plugIn(plan, make, cached);
    } catch (error) {
      // A guest that was not well when it was kept never will be: another takes its place.
      if (!(error instanceof VmError && UNWELL.has(error.kind))) throw error;
    }
  }
  const vm = await coldBoot(plan, [], make);
  const snapshot = await vm.orStop(() => vm.save());
  await vm.stop();
  await cache.store(plan.origin, snapshot);
  return plugIn(plan, make, snapshot);
}

async function coldBoot(plan: Plan, shares: ShareOptions[], make: MakeVm): Promise<Vm> {
  const { onProgress, timeoutMs = BOOT_PATIENCE } = plan.options;
  const root = plan.rootPrograms && plan.shares.at(-1);
  if (root && root.source === undefined && !root.filesystem)
    throw new VmError(
      'configuration',
      'a root has to have something in it to boot from: give `source` or `filesystem`',
    );
  const { kernel, v86 } = await plan.coldBoot();
  const vm = await makeWith(plan, shares, make, { v86 });
  putPrograms(vm, plan);
  const started = performance.now();
  const tell = () => onProgress?.(`booting the guest: ${Math.round((performance.now() - started) / 1000)} s`);
  const ticker = setInterval(tell, 1000);
  tell();
  try {
    await vm.orStop(() => vm.boot(kernel, { cmdline: plan.cmdline, timeoutMs }));
    return vm;
  } finally {
    clearInterval(ticker);
  }
}

/** Gives a root filesystem what it is about to be booted with; without it the guest panics. */
function putPrograms(vm: Vm, { rootPrograms }: Plan): void {
  const root = vm.shares.find(({ isRoot }) => isRoot);
  if (!root || !rootPrograms) return;
  try {
    putRootPrograms(root.files, rootPrograms);
  } catch (error) {
    process.emitWarning(`the guest can't boot from its root: ${(error as Error).message}`, { type: 'v86-virtiofs' });
  }
}

/** Takes a machine that has booted without shares and plugs them in, as into a running PC. */
async function plugIn(plan: Plan, make: MakeVm, base: Snapshot): Promise<Vm> {
  const vm = await makeMachine(plan, make, { base });
  return vm.orStop(async () => {
    await vm.goOn();
    if (plan.shares.length)
      await vm.agent.exec('echo 1 >/sys/bus/pci/rescan', { timeoutMs: PATIENCE }).catch((error: Error) => {
        if (error instanceof VmError) throw error;
        throw new VmError(
          'timeout',
          `the guest does not find its shares: ${error.message}\nIts console ends with\n${vm.console.tail()}`,
          { cause: error },
        );
      });
    return vm;
  });
}
