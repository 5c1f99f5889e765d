import type { Vm } from '../node/vm.ts';
import type { NamedDriver } from '../node/vm-options.ts';
import type { Subject } from './filesystems.ts';
import { Collector, type Measure, type Table } from './report.ts';

/** In the longer one of two runs there are so many more. */
const REQUESTS = 5000;
const FEW = 500;

const measure = (name: string, unit: string): Measure => ({ name, unit, isRate: false });
const TIME = measure('time', 'us');
export const INSTRUCTIONS = measure('instructions of the guest', '');
const DEVICE = measure('of the time, in the device', 'us');
const KICKS = measure('kicks', '');
export const INTERRUPTS = measure('interrupts', '');

/** What one request costs, by requests that are nothing but that: `fstat` of an open file, without a cache. */
export async function benchRequests(
  guests: Record<NamedDriver, Vm>,
  subjects: readonly Subject[],
  rounds: number,
  onProgress: (message: string) => void,
): Promise<Table> {
  const names = subjects.map(({ name }) => name);
  const collector = new Collector(names);
  for (let round = 0; round <= rounds; round++) {
    for (const { name, mount, tag, driver = 'fast' } of subjects) {
      const vm = guests[driver];
      const instructions = () => vm.emulator.get_instruction_counter();
      onProgress(`${round ? `round ${round} of ${rounds}` : 'warming up'}: requests, ${name}`);
      await vm.exec(`${mount} /bench`);
      const device = tag === undefined ? undefined : timed(vm, tag);
      const run = async (count: number) => {
        const before = { instructions: instructions(), ...device?.() };
        const { stdout } = await vm.exec(`vfsbench /bench requests ${count}`, { timeoutMs: 300_000 });
        const after = { instructions: instructions(), ...device?.() };
        return {
          time: Number(stdout.split('\t')[2]),
          instructions: (after.instructions - before.instructions) >>> 0,
          busy: (after.busy ?? 0) - (before.busy ?? 0),
          kicks: (after.kicks ?? 0) - (before.kicks ?? 0),
          interrupts: (after.interrupts ?? 0) - (before.interrupts ?? 0),
        };
      };
      const few = await run(FEW);
      const many = await run(FEW + REQUESTS);
      await vm.exec('umount /bench');
      if (round === 0) continue;
      collector.add(name, TIME, many.time);
      collector.add(name, INSTRUCTIONS, (many.instructions - few.instructions) / REQUESTS);
      if (!device) continue;
      collector.add(name, DEVICE, ((many.busy - few.busy) / REQUESTS) * 1000);
      collector.add(name, KICKS, (many.kicks - few.kicks) / REQUESTS);
      collector.add(name, INTERRUPTS, (many.interrupts - few.interrupts) / REQUESTS);
    }
  }
  return { title: 'One request without a cache: fstat of an open file', subjects: names, rows: collector.rows() };
}

/** Counts what a share's device does, and the milliseconds that the guest's accesses to its registers take. */
function timed(vm: Vm, tag: string): () => { busy: number; kicks: number; interrupts: number } {
  const { transport } = vm.share(tag).device;
  let busy = 0;
  for (const name of ['readBar', 'writeBar'] as const) {
    if (Object.hasOwn(transport, name)) delete (transport as Partial<typeof transport>)[name];
    const access = transport[name].bind(transport) as (...args: number[]) => number;
    Object.assign(transport, {
      [name]: (...args: number[]) => {
        const started = performance.now();
        const value = access(...args);
        busy += performance.now() - started;
        return value;
      },
    });
  }
  return () => {
    const { kicks, interrupts } = transport.statistics[1]!;
    return { busy, kicks, interrupts };
  };
}
