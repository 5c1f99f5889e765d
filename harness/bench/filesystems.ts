import { Vm } from '../vm.ts';
import { Collector, type BenchRow } from './report.ts';

/** The file systems that are compared: ours first. Like is set beside like: cached beside cached, uncached beside uncached. */
const SUBJECTS: { name: string; mount: string; share?: 'never' | 'auto' }[] = [
  { name: 'virtio-fs', share: 'auto', mount: 'mount -t virtiofs auto /bench/virtio-fs' },
  { name: '9p loose', mount: "mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose host9p '/bench/9p loose'" },
  { name: 'virtio-fs never', share: 'never', mount: "mount -t virtiofs never '/bench/virtio-fs never'" },
  { name: '9p', mount: 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none host9p /bench/9p' },
  { name: 'tmpfs', mount: 'mount -t tmpfs -o size=120m tmpfs /bench/tmpfs' },
];

export const FILESYSTEMS = SUBJECTS.map(({ name }) => name);

export interface FilesystemBench {
  rows: BenchRow[];
  guest: Record<string, string | number>;
}

/** Every file system in turn, `rounds` times, in one guest. `mib`: size of the large file. */
export async function benchFilesystems(rounds: number, mib: number, onProgress: (message: string) => void): Promise<FilesystemBench> {
  const collector = new Collector(FILESYSTEMS);
  onProgress('booting the guest');
  const vm = await Vm.boot({ memory: 512, ninep: true, shares: SUBJECTS.flatMap(({ share }) => (share ? [{ tag: share, cache: share }] : [])) });
  try {
    const { stdout: kernel } = await vm.exec('uname -r');
    for (let round = 1; round <= rounds; round++) {
      for (const { name, mount } of SUBJECTS) {
        onProgress(`round ${round} of ${rounds}: ${name}`);
        const path = `/bench/${name}`;
        const { stdout, stderr, code } = await vm.exec(`mkdir -p '${path}' && ${mount} && vfsbench '${path}' ${mib}; code=$?; umount '${path}'; exit $code`, { timeoutMs: 600_000 });
        if (code !== 0) throw new Error(`the benchmark failed on ${name}: ${stderr}`);
        for (const line of stdout.trim().split('\n')) {
          const [quantity, unit, value] = line.split('\t') as [string, string, string];
          collector.add(name, { name: quantity, unit, isRate: unit === 'MB/s' }, Number(value));
        }
      }
    }
    return { rows: collector.rows(), guest: { kernel: kernel.trim(), memory: vm.config.memory, emulator: vm.config.emulator } };
  } finally {
    await vm.stop();
  }
}
