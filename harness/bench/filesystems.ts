import { Vm } from '../node/vm.ts';
import { type BenchRow, Collector } from './report.ts';
import { benchRequests } from './requests.ts';

/**
 * MiB of the large file of a run before each that counts. What other file systems have done meanwhile drives code that the emulator has
 * compiled out, and code that is new to it takes up to seven times as long.
 */
const WARM_UP = 4;

interface Row {
  name: string;
  unit: string;
  value: number;
  /** That the device has served for a call. */
  requests: number;
  /** Of the guest, for a call: unlike times, they are the same on every machine and however busy it is. */
  instructions: number;
}

export interface Subject {
  name: string;
  mount: string;
  /** Whose requests are counted. */
  tag?: string;
}

/** Like beside like: with the guest's cache, and without. In each table the first is compared with the others. */
const TABLES: { title: string; cache: 'auto' | 'never'; subjects: Subject[] }[] = [
  {
    title: 'With the guest’s page cache (virtio-fs: cache auto; 9p: cache=loose)',
    cache: 'auto',
    subjects: [
      { name: 'virtio-fs', mount: 'mount -t virtiofs auto', tag: 'auto' },
      { name: 'stateless', mount: 'mount -t virtiofs auto-stateless', tag: 'auto-stateless' },
      { name: '9p', mount: 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose host9p' },
      { name: 'tmpfs', mount: 'mount -t tmpfs -o size=120m tmpfs' },
    ],
  },
  {
    title: 'Without a cache (virtio-fs: cache never; 9p: cache=none)',
    cache: 'never',
    subjects: [
      { name: 'virtio-fs', mount: 'mount -t virtiofs never', tag: 'never' },
      { name: '9p', mount: 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none host9p' },
    ],
  },
];

export interface FilesystemBench {
  tables: { title: string; subjects: string[]; rows: BenchRow[] }[];
  guest: Record<string, string | number>;
}

/** Every file system in turn, `rounds` times, in one guest. `mib`: size of the large file. */
export async function benchFilesystems(
  rounds: number,
  mib: number,
  onProgress: (message: string) => void,
): Promise<FilesystemBench> {
  const tables = TABLES.map((table) => {
    const names = table.subjects.map(({ name }) => name);
    return { ...table, names, values: new Collector(names), instructions: new Collector(names) };
  });
  const tags = TABLES.flatMap(({ subjects }) => subjects.flatMap(({ tag }) => tag ?? []));
  const counted = new Collector(tags);
  onProgress('booting the guest');
  const vm = await Vm.boot({
    memory: 512,
    ninep: true,
    shares: [...TABLES.map(({ cache }) => ({ tag: cache, cache })), { tag: 'auto-stateless', stateless: true }],
  });
  /** A row is here as soon as the guest has printed it, so that what was served until then belongs to it. */
  const measure = async ({ mount, tag }: Subject): Promise<Row[]> => {
    const served = () =>
      tag === undefined
        ? 0
        : vm
            .share(tag)
            .device.transport.statistics.slice(1)
            .reduce((sum, { requests }) => sum + requests, 0);
    const warmUp = await vm.exec(`mkdir -p /bench && ${mount} /bench && vfsbench /bench ${WARM_UP}`, {
      timeoutMs: 600_000,
    });
    if (warmUp.code !== 0) throw new Error(`the benchmark failed on "${mount}": ${warmUp.stderr}`);
    const guest = vm.spawn(`vfsbench /bench ${mib}; code=$?; umount /bench; exit $code`);
    const rows: Row[] = [];
    const decoder = new TextDecoder();
    let text = '';
    const look = () => ({ served: served(), instructions: vm.emulator.get_instruction_counter() });
    let before = look();
    guest.onStdout = (bytes) => {
      const lines = (text + decoder.decode(bytes, { stream: true })).split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        const [name, unit, value, calls] = line.split('\t') as [string, string, string, string];
        const now = look();
        const each = (count: number) => count / Number(calls);
        rows.push({
          name,
          unit,
          value: Number(value),
          requests: each(now.served - before.served),
          instructions: each((now.instructions - before.instructions) >>> 0),
        });
        before = now;
      }
    };
    let complaints = '';
    guest.onStderr = (bytes) => (complaints += new TextDecoder().decode(bytes));
    if ((await guest.exited) !== 0) throw new Error(`the benchmark failed on "${mount}": ${complaints}`);
    return rows;
  };
  try {
    const { stdout: kernel } = await vm.exec('uname -r');
    for (let round = 1; round <= rounds; round++) {
      for (const { subjects, cache, values, instructions } of tables) {
        for (const subject of subjects) {
          onProgress(`round ${round} of ${rounds}: ${subject.name}, cache ${cache}`);
          for (const { name, unit, value, requests, instructions: executed } of await measure(subject)) {
            const perCall = { name, unit: 'a call', isRate: false };
            values.add(subject.name, { name, unit, isRate: unit === 'MB/s' }, value);
            instructions.add(subject.name, perCall, executed);
            if (subject.tag !== undefined) counted.add(subject.tag, perCall, requests);
          }
        }
      }
    }
    const costs = await benchRequests(vm, TABLES.find(({ cache }) => cache === 'never')!.subjects, rounds, onProgress);
    return {
      tables: [
        ...tables.map(({ title, names, values }) => ({ title, subjects: names, rows: values.rows() })),
        ...tables.map(({ title, names, instructions }) => ({
          title: `Instructions of the guest: ${title[0]!.toLowerCase()}${title.slice(1)}`,
          subjects: names,
          rows: instructions.rows(),
        })),
        { title: 'Requests to the device, FORGETs not counted', subjects: tags, rows: counted.rows() },
        costs,
      ],
      guest: { kernel: kernel.trim(), memory: vm.config.memory, emulator: vm.config.emulator },
    };
  } finally {
    await vm.stop();
  }
}
