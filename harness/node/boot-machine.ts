import { orDestroy } from '../machine/emulator.ts';
import { VmError, type VmErrorKind } from '../machine/errors.ts';
import { BootCache } from './boot-cache.ts';
import { assemble, BOOT_PATIENCE, type Machine, PATIENCE } from './machine.ts';
import type { Plan } from './plan.ts';
import { makeSnapshot, type Snapshot } from './stores/snapshot-file.ts';
import type { ShareOptions } from './vm-options.ts';

const UNWELL = new Set<VmErrorKind>(['timeout', 'crashed', 'halted', 'rebooted']);

/** A machine whose guest answers, its shares plugged in but not mounted. */
export function bootMachine(plan: Plan): Promise<Machine> {
  const { cache, acpi, v86 } = plan.options;
  return cache === false || acpi || v86 ? coldBoot(plan, plan.shares) : fromCache(plan);
}

/** `plan`'s shares plugged into a machine that has booted without them: one of the cache, or one that is put there. */
async function fromCache(plan: Plan): Promise<Machine> {
  const cache = new BootCache();
  const cached = await cache.load(plan.origin);
  if (cached) {
    try {
      return await plugIn(plan, cached);
    } catch (error) {
      // A guest that was not well when it was kept never will be: another takes its place.
      if (!(error instanceof VmError && UNWELL.has(error.kind))) throw error;
    }
  }
  const { config, emulator, console } = await coldBoot(plan, []);
  const snapshot = await orDestroy(emulator, async () =>
    makeSnapshot(config, console.lines, new Uint8Array(await emulator.save_state())),
  );
  await emulator.destroy();
  await cache.store(plan.origin, snapshot);
  return plugIn(plan, snapshot);
}

async function coldBoot(plan: Plan, shares: ShareOptions[]): Promise<Machine> {
  const { onProgress, timeoutMs = BOOT_PATIENCE } = plan.options;
  const road = await plan.bootRoad();
  const machine = await assemble(plan, shares, road.emulatorOptions);
  const { emulator, life } = machine;
  const started = performance.now();
  const tell = () => onProgress?.(`booting the guest: ${Math.round((performance.now() - started) / 1000)} s`);
  const ticker = setInterval(tell, 1000);
  tell();
  try {
    road.load(emulator);
    await emulator.run();
    await life.answer(timeoutMs, 'boot');
    return machine;
  } catch (error) {
    await emulator.destroy();
    throw error;
  } finally {
    clearInterval(ticker);
  }
}

/** Takes a machine that has booted without shares and plugs them in, as into a running PC. */
async function plugIn(plan: Plan, base: Snapshot): Promise<Machine> {
  const machine = await assemble(plan, plan.shares, plan.emulatorOptions, base);
  const { emulator, agent, life, console } = machine;
  return orDestroy(emulator, async () => {
    await emulator.run();
    await life.answer(PATIENCE);
    if (plan.shares.length)
      await agent.exec('echo 1 >/sys/bus/pci/rescan', { timeoutMs: PATIENCE }).catch((error: Error) => {
        if (error instanceof VmError) throw error;
        throw new VmError(
          'timeout',
          `the guest does not find its shares: ${error.message}\nIts console ends with\n${console.tail()}`,
          { cause: error },
        );
      });
    return machine;
  });
}
