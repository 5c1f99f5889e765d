import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlockCache } from '../../device/image/block-cache.ts';
import { ReadRecorder, repackImage } from '../../device/image/profile.ts';
import { imageFileSystem } from '../../device/index.ts';
import { openImageAt } from '../node/images/open.ts';
import { imageDirectory } from '../node/images/write-image.ts';
import { DirectoryStore } from '../node/stores/directory-store.ts';
import { Vm } from '../node/vm.ts';
import { DEBIAN_IMAGE, ensureDebianImage } from './debian.ts';
import { Server } from './network.ts';
import { bootFromNinep, writeNinepTree } from './ninep-root.ts';
import { Collector, type Measure, medianOf, type Table, type Target, target } from './report.ts';
import type { Network } from './slow-server.ts';

const KERNEL = 'minimal';
const MEMORY = 512;
const PROFILED = 'profile.image';
const LONG = 900_000;

/** What a visitor does, in turn. */
const STEPS = {
  prompt: 'true',
  python3: "python3 -c 'import json, hashlib; print(sum(range(1000)))'",
  gcc: `cd /tmp && printf '#include <stdio.h>\\nint main(void) { puts("hello"); return 0; }\\n' > hello.c && gcc -o hello hello.c && ./hello`,
  git: 'mkdir /tmp/repo && cd /tmp/repo && git init -q && echo one > file && git add . && git -c user.name=me -c user.email=me@here commit -qm first && git log --format=%s',
};
type Step = keyof typeof STEPS;

/** A cache is used after the visit that has filled it. */
const NETWORKS: { name: string; network: Network }[] = [
  { name: 'no delay', network: { delay: 0, bandwidth: Infinity } },
  { name: '50 ms, 50 Mbit/s', network: { delay: 50, bandwidth: 50e6 } },
];

const PROFILE = 'with a profile';
const PLAIN = 'without';
const WARM = 'cache, no server';
const NINEP = '9p';

const measure = (name: string, unit: string): Measure => ({ name, unit, isRate: false });
const M = {
  bootRequests: measure('requests until the agent answers', ''),
  bootBytes: measure('fetched until then', 'MB'),
  requests: measure('requests in all', ''),
  bytes: measure('fetched in all', 'MB'),
  bootInstructions: measure('instructions until the agent answers', '10⁶'),
  instructions: measure('instructions in all', '10⁶'),
  prompt: measure('start until a login shell is done', 's'),
  gcc: measure("… until gcc's program has run", 's'),
  all: measure('… until git has committed', 's'),
  readBytes: measure('content', 'MB'),
  memory: measure('memory above the start, at most', 'MiB'),
  time: measure('time', 's'),
};

export interface RootBench {
  tables: Table[];
  targets: Target[];
}

/** A Debian as root filesystem, from a web server: an image, with a profile and without, from the cache with no server, and v86's own 9p. */
export async function benchRoot(rounds: number, onProgress: (message: string) => void): Promise<RootBench> {
  const images = await ensureDebianImage(onProgress);
  const work = await mkdtemp(join(tmpdir(), 'bench-root-'));
  let server: Server | undefined;
  try {
    onProgress('recording a profile');
    await recordProfile(images, join(work, 'www'));
    onProgress("writing the tree for v86's own 9p");
    const sums = await writeTree(images, join(work, 'www/ninep'));
    server = await Server.start(join(work, 'www'));
    const bench = new Bench(server, work, sums, onProgress);
    // Whoever comes first waits for what nobody has asked the server and the emulator for before.
    await bench.visit(PLAIN, new Collector([PLAIN]), 'a visit that does not count');
    const tables: Table[] = [];
    for (const [n, { name, network }] of NETWORKS.entries()) {
      const subjects = n === 0 ? [PROFILE, PLAIN, WARM, NINEP] : [PROFILE, PLAIN, NINEP];
      const collector = new Collector(subjects);
      for (let round = 1; round <= rounds; round++) {
        onProgress(`round ${round} of ${rounds}, ${name}`);
        for (const subject of subjects) {
          server.network = { ...network, isDown: subject === WARM };
          await bench.visit(subject, collector, `${name}, ${subject}`);
        }
      }
      tables.push({ title: `A Debian root from a web server: ${name}`, subjects, rows: collector.rows() });
    }
    server.network = NETWORKS[0]!.network;
    const whole = new Collector([PLAIN]);
    await bench.readAll(whole);
    tables.push({
      title: `All of its ${sums.size} files, read once in the guest, and compared`,
      subjects: [PLAIN],
      rows: whole.rows(),
    });
    return { tables, targets: targetsOf(tables) };
  } finally {
    await server?.stop();
    await rm(work, { recursive: true, force: true });
  }
}

class Bench {
  readonly #server: Server;
  readonly #work: string;
  readonly #sums: ReadonlyMap<string, string>;
  readonly #onProgress: (message: string) => void;
  /** Filled by a visit, and used by one without a server. */
  readonly #cache: string;

  constructor(server: Server, work: string, sums: ReadonlyMap<string, string>, onProgress: (message: string) => void) {
    this.#server = server;
    this.#work = work;
    this.#sums = sums;
    this.#onProgress = onProgress;
    this.#cache = join(work, 'cache');
  }

  /** One visit with all its steps. */
  async visit(subject: string, collector: Collector, label: string): Promise<void> {
    this.#onProgress(`${label}: booting`);
    await this.#server.counts();
    const started = performance.now();
    const { vm, end } = await this.#boot(subject);
    try {
      const add = (what: Measure, value: number) => collector.add(subject, what, value);
      let counted = vm.emulator.get_instruction_counter() >>> 0;
      let instructions = counted;
      const boot = await this.#server.counts();
      add(M.bootRequests, boot.requests);
      add(M.bootBytes, boot.bytes / 1e6);
      add(M.bootInstructions, instructions / 1e6);
      for (const [step, command] of Object.entries(STEPS) as [Step, string][]) {
        this.#onProgress(`${label}: ${step}`);
        const { code, stderr } = await vm.exec(['bash', '-lc', command], { timeoutMs: LONG });
        if (code !== 0) throw new Error(`${label}: ${step} has failed: ${stderr}`);
        const now = vm.emulator.get_instruction_counter() >>> 0;
        instructions += (now - counted) >>> 0;
        counted = now;
        const seconds = (performance.now() - started) / 1000;
        if (step === 'prompt') add(M.prompt, seconds);
        if (step === 'gcc') add(M.gcc, seconds);
        if (step === 'git') add(M.all, seconds);
      }
      const rest = await this.#server.counts();
      add(M.requests, boot.requests + rest.requests);
      add(M.bytes, (boot.bytes + rest.bytes) / 1e6);
      add(M.instructions, instructions / 1e6);
    } finally {
      await vm.stop();
      await end();
    }
  }

  async #boot(subject: string): Promise<{ vm: Vm; end: () => Promise<void> }> {
    const { base } = this.#server;
    if (subject === NINEP) {
      const vm = await bootFromNinep(new URL('ninep/', base), this.#work, KERNEL, MEMORY);
      return { vm, end: async () => {} };
    }
    const cache = new BlockCache(new DirectoryStore(this.#cache));
    const url = new URL(subject === PROFILE ? PROFILED : DEBIAN_IMAGE, base);
    // Who visits for the first time has an empty cache.
    if (subject !== WARM) await rm(this.#cache, { recursive: true, force: true });
    const image = await openImageAt(url.href, { cache });
    const vm = await Vm.boot({ kernel: KERNEL, memory: MEMORY, root: { filesystem: imageFileSystem(image) } });
    return {
      vm,
      end: async () => {
        image.origin.close();
        await cache.settle();
      },
    };
  }

  /** In the guest, which says what it has read. */
  async readAll(collector: Collector): Promise<void> {
    this.#onProgress('reading all files');
    const image = await openImageAt(new URL(DEBIAN_IMAGE, this.#server.base).href);
    const vm = await Vm.boot({ kernel: KERNEL, memory: MEMORY, root: { filesystem: imageFileSystem(image) } });
    const add = (what: Measure, value: number) => collector.add(PLAIN, what, value);
    try {
      await this.#server.counts();
      const before = memoryInUse();
      let most = before;
      const watch = setInterval(() => (most = Math.max(most, memoryInUse())), 1000);
      const started = performance.now();
      const found = new Map<string, string>();
      try {
        const { stdout } = await vm.exec('cd / && find . -xdev -type f -print0 | xargs -0 md5sum -z', {
          timeoutMs: LONG,
        });
        add(M.time, (performance.now() - started) / 1000);
        for (const line of stdout.split('\0')) found.set(line.slice(35), line.slice(0, 32));
      } finally {
        clearInterval(watch);
      }
      for (const [path, sum] of this.#sums)
        if (found.get(path) !== sum) throw new Error(`${path} was read as ${found.get(path)}, and is ${sum}`);
      const { requests, bytes } = await this.#server.counts();
      add(M.readBytes, image.info.bytes / 1e6);
      add(M.requests, requests);
      add(M.bytes, bytes / 1e6);
      add(M.memory, (most - before) / 2 ** 20);
    } finally {
      await vm.stop();
      image.origin.close();
    }
  }
}

/** Bytes that can't be given back. */
function memoryInUse(): number {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Puts the image into `www`, with a profile and without. */
async function recordProfile(images: string, www: string): Promise<void> {
  await mkdir(www);
  for (const name of await readdir(images)) await symlink(join(images, name), join(www, name));
  const image = await openImageAt(join(images, DEBIAN_IMAGE));
  const recorder = new ReadRecorder(image.origin);
  const root = { filesystem: imageFileSystem({ origin: recorder, state: image.state }) };
  const vm = await Vm.boot({ kernel: KERNEL, memory: MEMORY, root });
  try {
    for (const command of Object.values(STEPS)) await vm.exec(['bash', '-lc', command], { timeoutMs: LONG });
  } finally {
    await vm.stop();
  }
  await repackImage(image, recorder.chunks, imageDirectory(www), PROFILED);
  image.origin.close();
}

async function writeTree(images: string, directory: string): Promise<Map<string, string>> {
  const image = await openImageAt(join(images, DEBIAN_IMAGE));
  try {
    return await writeNinepTree(imageFileSystem(image), directory, KERNEL);
  } finally {
    image.origin.close();
  }
}

function targetsOf([here, far, whole]: Table[]): Target[] {
  const of = (table: Table | undefined, what: Measure, subject: string) => medianOf(table?.rows ?? [], what, subject);
  const against = (subject: string) =>
    [here, far].flatMap((table) =>
      [M.bytes, M.requests, M.instructions, M.prompt, M.gcc].map((what) =>
        target(
          `${subject} to 9p, ${table === here ? 'no delay' : 'delayed'}: ${what.name}`,
          '×',
          of(table, what, subject) / of(table, what, NINEP),
          1,
        ),
      ),
    );
  return [
    target('cold boot to the agent: requests', '', of(here, M.bootRequests, PLAIN), 4),
    target('cold boot to the agent: fetched', 'MB', of(here, M.bootBytes, PLAIN), 2),
    target('all steps, with a profile: requests', '', of(here, M.requests, PROFILE), 5),
    target('all steps, with a profile: fetched', 'MB', of(here, M.bytes, PROFILE), 25),
    target('all steps, without one: requests', '', of(here, M.requests, PLAIN), 250),
    target('all steps, without one: fetched', 'MB', of(here, M.bytes, PLAIN), 25),
    target('all steps, from the cache, no server: requests', '', of(here, M.requests, WARM), 0),
    target('all files read: memory above the start', 'MiB', of(whole, M.memory, PLAIN), 64),
    ...against(PROFILE),
    ...against(PLAIN),
  ];
}
