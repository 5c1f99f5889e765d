import { HonestGuest } from '../../test/support/honest-guest.ts';
import { Vm } from '../node/vm.ts';
import type { NamedDriver } from '../node/vm-options.ts';
import { behindNinep, EDITS, FAST, type Goal, goalsOf, NINEP, STOCK, TMPFS } from './goals.ts';
import { Collector, type Table } from './report.ts';
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
  /** Of the guest that it runs in. Default: `fast`. */
  driver?: NamedDriver;
}

type Guests = Record<NamedDriver, Vm>;

const STATELESS = 'fast, stateless';

/** Like beside like: with the guest's cache, which nothing is asked for again, and without. In each table the first is compared with the others. */
const TABLES: { title: string; cache: 'always' | 'never'; subjects: Subject[] }[] = [
  {
    title: 'With the guest’s page cache (virtio-fs: cache always; 9p: cache=loose)',
    cache: 'always',
    subjects: [
      { name: FAST, mount: 'mount -t virtiofs always', tag: 'always' },
      { name: STATELESS, mount: 'mount -t virtiofs stateless', tag: 'stateless' },
      { name: STOCK, mount: 'mount -t virtiofs always', tag: 'always', driver: 'stock' },
      { name: NINEP, mount: 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose host9p' },
      { name: TMPFS, mount: 'mount -t tmpfs -o size=120m tmpfs' },
    ],
  },
  {
    title: 'Without a cache (virtio-fs: cache never; 9p: cache=none)',
    cache: 'never',
    subjects: [
      { name: FAST, mount: 'mount -t virtiofs never', tag: 'never' },
      { name: STOCK, mount: 'mount -t virtiofs never', tag: 'never', driver: 'stock' },
      { name: NINEP, mount: 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none host9p' },
    ],
  },
];

export interface FilesystemBench {
  tables: Table[];
  goals: Goal[];
  /** Rows of the fast driver that 9p is ahead in. */
  behind: string[];
  guest: Record<string, string | number>;
}

/** Every file system in turn, `rounds` times, in two guests with a driver each. `mib`: size of the large file. */
export async function benchFilesystems(
  rounds: number,
  mib: number,
  onProgress: (message: string) => void,
): Promise<FilesystemBench> {
  const tables = TABLES.map((table) => {
    const names = table.subjects.map(({ name }) => name);
    const virtio = table.subjects.filter(({ tag }) => tag !== undefined).map(({ name }) => name);
    return {
      ...table,
      names,
      virtio,
      values: new Collector(names),
      instructions: new Collector(names),
      requests: new Collector(virtio),
    };
  });
  const guests = await bootGuests(onProgress);
  try {
    const { stdout: kernel } = await guests.fast.exec('uname -r');
    for (let round = 1; round <= rounds; round++) {
      for (const { subjects, cache, values, instructions, requests } of tables) {
        for (const subject of subjects) {
          const { name: filesystem, tag, driver = 'fast' } = subject;
          onProgress(`round ${round} of ${rounds}: ${filesystem}, cache ${cache}`);
          for (const { name, unit, value, ...costs } of await measure(guests[driver], subject, mib)) {
            const perCall = { name, unit: 'a call', isRate: false };
            values.add(filesystem, { name, unit, isRate: unit === 'MB/s' }, value);
            instructions.add(filesystem, perCall, costs.instructions);
            if (tag !== undefined) requests.add(filesystem, perCall, costs.requests);
          }
        }
      }
    }
    const uncached = TABLES.find(({ cache }) => cache === 'never')!.subjects;
    const costs = await benchRequests(guests, uncached, rounds, onProgress);
    const titled = (prefix: string, title: string) => `${prefix}: ${title[0]!.toLowerCase()}${title.slice(1)}`;
    const times = tables.map(({ title, names, values }) => ({ title, subjects: names, rows: values.rows() }));
    const executed = tables.map(({ title, names, instructions }) => ({
      title: titled('Instructions of the guest', title),
      subjects: names,
      rows: instructions.rows(),
    }));
    const [cached, rest] = times.map(({ rows }, n) => ({ times: rows, executed: executed[n]!.rows }));
    const results = {
      cached: cached!,
      uncached: rest!,
      costs: costs.rows,
      edits: await countEdits(guests, onProgress),
    };
    const { config } = guests.fast;
    return {
      tables: [
        ...times,
        ...executed,
        ...tables.map(({ title, virtio, requests }) => ({
          title: titled('Requests to the device, FORGETs not counted', title),
          subjects: virtio,
          rows: requests.rows(),
        })),
        costs,
      ],
      goals: goalsOf(results, kernel.startsWith('6.12')),
      behind: behindNinep(results),
      guest: { kernel: kernel.trim(), memory: config.memory, emulator: config.emulator },
    };
  } finally {
    for (const vm of Object.values(guests)) await vm.stop();
  }
}

async function bootGuests(onProgress: (message: string) => void): Promise<Guests> {
  const boot = (driver: NamedDriver) => {
    onProgress(`booting the guest with the ${driver} driver`);
    return Vm.boot({
      driver,
      memory: 512,
      ninep: true,
      shares: [
        ...TABLES.map(({ cache }) => ({ tag: cache, cache })),
        { tag: 'stateless', cache: 'always', stateless: true },
        { tag: 'share' },
        { tag: 'log', cache: 'never' },
      ],
      // A kernel may have to be built; how long a boot takes is no news.
      onProgress: (message) => message.startsWith('booting') || onProgress(message),
    });
  };
  const fast = await boot('fast');
  try {
    return { fast, stock: await boot('stock') };
  } catch (error) {
    await fast.stop();
    throw error;
  }
}

async function countEdits(guests: Guests, onProgress: (message: string) => void): Promise<Record<string, number>> {
  const count = async (driver: NamedDriver) => {
    onProgress(`changes of the host, ${driver} driver`);
    const vm = guests[driver];
    for (const tag of ['share', 'log']) await vm.mount(tag);
    const guest = await HonestGuest.start(vm);
    const seen = await guest.countsEdits(EDITS, 1);
    await guest.stop();
    return seen;
  };
  return { [FAST]: await count('fast'), [STOCK]: await count('stock') };
}

/** A row is here as soon as the guest has printed it, so that what was served until then belongs to it. */
async function measure(vm: Vm, { mount, tag }: Subject, mib: number): Promise<Row[]> {
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
      // Of what is between two measurements, as waiting, there is a line without a quantity.
      if (name !== '') {
        rows.push({
          name,
          unit,
          value: Number(value),
          requests: each(now.served - before.served),
          instructions: each((now.instructions - before.instructions) >>> 0),
        });
      }
      before = now;
    }
  };
  let complaints = '';
  guest.onStderr = (bytes) => (complaints += new TextDecoder().decode(bytes));
  if ((await guest.exited) !== 0) throw new Error(`the benchmark failed on "${mount}": ${complaints}`);
  return rows;
}
