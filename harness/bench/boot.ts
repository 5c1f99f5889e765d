import { Vm } from '../vm.ts';
import type { BootMethod } from '../vm-options.ts';
import { Collector, type BenchRow, type Measure } from './report.ts';

export const ROADS = ['direct', 'bios', 'cached'] as const;

const READY: Measure = { name: 'start until the guest answers', unit: 's', isRate: false };
const FIRST_COMMAND: Measure = { name: 'start until the first command is done', unit: 's', isRate: false };

/** Cold boots by both roads, and starts from the boot cache, in turn. */
export async function benchBoot(rounds: number, onProgress: (message: string) => void): Promise<BenchRow[]> {
  const collector = new Collector(ROADS);
  const shares = [{ tag: 'share' }];
  await (await Vm.boot({ shares })).stop();
  for (let round = 1; round <= rounds; round++) {
    for (const road of ROADS) {
      onProgress(`round ${round} of ${rounds}: ${road}`);
      const started = performance.now();
      const vm = await Vm.boot(road === 'cached' ? { shares } : { shares, cache: false, bootMethod: road satisfies BootMethod });
      collector.add(road, READY, (performance.now() - started) / 1000);
      await vm.exec(['true']);
      collector.add(road, FIRST_COMMAND, (performance.now() - started) / 1000);
      await vm.stop();
    }
  }
  return collector.rows();
}
