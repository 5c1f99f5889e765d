import { Vm } from '../vm.ts';
import { Collector, type BenchRow } from './report.ts';

/** MiB of the large file of a round that only warms the emulator up. */
const WARM_UP = 4;

interface Subject {
  name: string;
  mount: string;
}

/** Like beside like: with the guest's cache, and without. In each table the first is compared with the others. */
export const TABLES: { title: string; cache: 'auto' | 'never'; subjects: Subject[] }[] = [
  {
    title: 'With the guest’s page cache (virtio-fs: cache auto; 9p: cache=loose)',
    cache: 'auto',
    subjects: [
      { name: 'virtio-fs', mount: 'mount -t virtiofs auto' },
      { name: 'stateless', mount: 'mount -t virtiofs auto-stateless' },
      { name: '9p', mount: 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose host9p' },
      { name: 'tmpfs', mount: 'mount -t tmpfs -o size=120m tmpfs' },
    ],
  },
  {
    title: 'Without a cache (virtio-fs: cache never; 9p: cache=none)',
    cache: 'never',
    subjects: [
      { name: 'virtio-fs', mount: 'mount -t virtiofs never' },
      { name: '9p', mount: 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none host9p' },
    ],
  },
];

export interface FilesystemBench {
  tables: { title: string; subjects: string[]; rows: BenchRow[] }[];
  guest: Record<string, string | number>;
}

/** Every file system in turn, `rounds` times, in one guest. `mib`: size of the large file. */
export async function benchFilesystems(rounds: number, mib: number, onProgress: (message: string) => void): Promise<FilesystemBench> {
  const collectors = TABLES.map(({ subjects }) => new Collector(subjects.map(({ name }) => name)));
  onProgress('booting the guest');
  const vm = await Vm.boot({ memory: 512, ninep: true, shares: [...TABLES.map(({ cache }) => ({ tag: cache, cache })), { tag: 'auto-stateless', stateless: true }] });
  const measure = async ({ mount }: Subject, size: number) => {
    const { stdout, stderr, code } = await vm.exec(`mkdir -p /bench && ${mount} /bench && vfsbench /bench ${size}; code=$?; umount /bench; exit $code`, { timeoutMs: 600_000 });
    if (code !== 0) throw new Error(`the benchmark failed on "${mount}": ${stderr}`);
    return stdout.trim().split('\n').map((line) => line.split('\t') as [string, string, string]);
  };
  try {
    const { stdout: kernel } = await vm.exec('uname -r');
    for (let round = 0; round <= rounds; round++) {
      for (const [n, { subjects, cache }] of TABLES.entries()) {
        for (const subject of subjects) {
          onProgress(`${round ? `round ${round} of ${rounds}` : 'warming up'}: ${subject.name}, cache ${cache}`);
          const values = await measure(subject, round ? mib : WARM_UP);
          if (round === 0) continue;
          for (const [name, unit, value] of values) collectors[n]!.add(subject.name, { name, unit, isRate: unit === 'MB/s' }, Number(value));
        }
      }
    }
    return {
      tables: TABLES.map(({ title, subjects }, n) => ({ title, subjects: subjects.map(({ name }) => name), rows: collectors[n]!.rows() })),
      guest: { kernel: kernel.trim(), memory: vm.config.memory, emulator: vm.config.emulator },
    };
  } finally {
    await vm.stop();
  }
}
