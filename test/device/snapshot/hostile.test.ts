import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import type { RangeState } from '../../../device/filesystems/memory/state.ts';
import {
  attachVirtioFs,
  diff,
  inspect,
  loadCodec,
  MachineSnapshots,
  MemoryStore,
  SnapshotError,
  SnapshotStore,
  Volume,
} from '../../../device/index.ts';
import { decodeFields, encodeFields } from '../../../device/snapshot/fields.ts';
import {
  decodeHead,
  decodePrefix,
  hashNames,
  type LayerHead,
  layerParts,
  PREFIX_LENGTH,
  toU32,
} from '../../../device/snapshot/layer.ts';
import type { SavedMachine } from '../../../device/snapshot/machine-state.ts';
import { DirectoryStore } from '../../../harness/node/stores/directory-store.ts';
import { type BareMachine, bareMachine } from '../../support/bare-machine.ts';

const codec = loadCodec();
const MIB = 1 << 20;

/** A layer whose checksums are right, whatever its head says. `added`: chunks beside its own. */
type Forge = (head: LayerHead & { frozen: NonNullable<LayerHead['frozen']> }, added: Uint8Array[]) => void;

function forge(file: Uint8Array, change: Forge): Uint8Array {
  const prefix = decodePrefix(file, 'x');
  const start = PREFIX_LENGTH + prefix.headLength;
  const head = decodeHead(codec, prefix, file.subarray(PREFIX_LENGTH, start), 'x') as Parameters<Forge>[0];
  const added: Uint8Array[] = [];
  change(head, added);
  const { hash, length, packed } = head.chunks;
  const stored = added.map((bytes) => codec.compress(bytes));
  head.chunks = {
    hash: Buffer.concat([hash, ...added.map((bytes) => codec.hash(bytes))]),
    length: Buffer.concat([length, toU32(added.map((bytes) => bytes.length))]),
    packed: Buffer.concat([packed, toU32(stored.map((bytes) => bytes.length))]),
  };
  return Buffer.concat(layerParts(codec, encodeFields(head), [file.subarray(start), ...stored]));
}

/** Changes the state of the virtio-fs devices, in which nothing is kept as a chunk. */
const forgeDevices =
  (change: (saved: SavedMachine, range: RangeState) => void): Forge =>
  ({ frozen }) => {
    const saved = decodeFields(frozen.devices) as SavedMachine;
    const { ranges } = saved.filesystems[0] as { ranges: [Uint8Array][] };
    const range = decodeFields(ranges[0]![0]) as RangeState;
    change(saved, range);
    ranges[0] = [encodeFields(range)];
    frozen.devices = encodeFields(saved);
  };

/** As if INIT had settled this. */
function settle(device: SavedMachine['devices'][number], changes: object): void {
  const numbers = {
    max_readahead: 0,
    max_background: 1,
    congestion_threshold: 1,
    max_write: 4096,
    time_gran: 1,
    max_pages: 1,
    map_alignment: 0,
  };
  Object.assign(device.session as object, { negotiated: { major: 7, minor: 38, flags: 0n, ...numbers, ...changes } });
}

describe('snapshots that were made to do harm, or by a later release', function () {
  this.timeout(60_000);
  let layer: Uint8Array;
  let machine: BareMachine;
  let volume: Volume;
  let snapshots: MachineSnapshots;
  let store: SnapshotStore;
  let directory: string;

  /** A machine whose filesystem has room for 4 MiB, and its snapshots in a directory. */
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hostile-'));
    store = await SnapshotStore.open(new DirectoryStore(join(directory, 'store')), codec);
    volume = new Volume();
    let made: Promise<MachineSnapshots>;
    machine = await bareMachine((emulator) => {
      attachVirtioFs(emulator, { tag: 'share', filesystem: filesystemOf(volume, { size: 4 * MIB, inodes: 100 }) });
      made = MachineSnapshots.of(emulator, store);
    });
    snapshots = await made!;
    volume.mkdirSync('/dir');
    volume.writeFileSync('/dir/file', 'text');
    machine.cpu.mem8.fill(7, 0, 3 * 4096);
    const own = await SnapshotStore.open(new MemoryStore(), codec);
    const { id } = await (await MachineSnapshots.of(machine.emulator, own)).freeze({ machine: { memory: 16 } });
    layer = Buffer.concat(await own.export(id));
    volume.writeFileSync('/mine', 'untouched');
  });
  after(async () => {
    await machine.destroy();
    await rm(directory, { recursive: true });
  });

  const cases: { name: string; change: Forge; says: RegExp }[] = [
    {
      name: 'an id that is a path',
      change: (head) => {
        head.id = '../../../../etc/evil';
      },
      says: /its id is invalid/,
    },
    {
      name: 'RAM of 2^40 pages',
      change: ({ frozen }) => {
        frozen.ram.pageCount = 2 ** 40;
      },
      says: /the size of its RAM is invalid/,
    },
    {
      name: 'RAM of no size',
      change: ({ frozen }) => {
        frozen.ram.pageCount = NaN;
      },
      says: /the size of its RAM is invalid/,
    },
    {
      name: 'pages beyond RAM',
      change: ({ frozen }) => {
        frozen.ram.first = toU32([4090]);
        frozen.ram.count = toU32([10]);
        frozen.ram.chunk = frozen.ram.page = toU32([0]);
      },
      says: /overlaps itself or exceeds RAM/,
    },
    {
      name: 'pages that no chunk can have',
      change: ({ frozen }) => {
        frozen.ram.page = toU32([63]);
        frozen.ram.count = toU32([3]);
        frozen.ram.first = frozen.ram.chunk = toU32([0]);
      },
      says: /a page that is in no chunk/,
    },
    {
      name: 'pages that its chunk lacks',
      change: ({ frozen }) => {
        frozen.ram.page = toU32([40]);
        frozen.ram.count = toU32([3]);
        frozen.ram.first = frozen.ram.chunk = toU32([0]);
      },
      says: /lacks some pages/,
    },
    {
      name: 'a chunk of 4 GiB',
      change: ({ chunks }) => {
        chunks.length = Uint8Array.from(chunks.length).fill(255, 0, 4);
      },
      says: /a chunk that is too long/,
    },
    {
      name: 'an emulator state of 8 GiB: one chunk of zeros, again and again',
      change: ({ frozen }, added) => {
        const zeros = new Uint8Array(MIB);
        added.push(zeros);
        frozen.state = Buffer.concat(Array<Uint8Array>(8192).fill(codec.hash(zeros)));
      },
      says: /its emulator state has 8589934592 bytes instead of \d+/,
    },
    {
      name: 'an emulator state that says it has a TiB',
      change: ({ frozen }) => {
        frozen.stateLength = 2 ** 40;
      },
      says: /no state of the emulator/,
    },
    {
      name: 'files that unpack to 4 times what the filesystem may hold',
      change: ({ frozen }, added) => {
        for (let n = 0; n < 16; n++) added.push(new Uint8Array(MIB).fill(n));
        frozen.deviceChunks = Buffer.concat([frozen.deviceChunks, ...added.map((bytes) => codec.hash(bytes))]);
      },
      says: /the files of the snapshot take 16\d{6} bytes, and the filesystems here have room for/,
    },
    {
      name: 'an entry called ../../evil',
      change: forgeDevices((_, { entries }) => {
        entries!.names = new TextEncoder().encode('../../evil\0file\0');
      }),
      says: /bad name/,
    },
    {
      name: 'a directory within itself',
      change: forgeDevices((_, { entries, directories }) => {
        entries!.dir = Uint8Array.of(2, 0, 0, 0, 2, 0, 0, 0);
        entries!.cookie = Uint8Array.of(3, 0, 0, 0, 4, 0, 0, 0);
        directories!.nextCookie = Uint8Array.of(9, 0, 0, 0, 9, 0, 0, 0);
      }),
      says: /not below the root/,
    },
    {
      name: 'a file of 2^32 chunks',
      change: forgeDevices((_, { files }) => {
        files!.chunks = Uint8Array.from(files!.chunks).fill(255, 0, 4);
      }),
      says: /more chunks than there are/,
    },
    {
      name: 'a device of a filesystem that is not there',
      change: forgeDevices(({ devices }) => {
        devices[0]!.filesystem = 7;
      }),
      says: /filesystem 7 of 1/,
    },
    {
      name: 'INIT flags of a later release',
      change: forgeDevices(({ devices }) => {
        settle(devices[0]!, { flags: 1n << 60n });
      }),
      says: /INIT flags 0x1000000000000000, which this server does not have/,
    },
    {
      name: 'a later FUSE',
      change: forgeDevices(({ devices }) => {
        settle(devices[0]!, { minor: 99 });
      }),
      says: /FUSE 7\.99; this server speaks 7\.31 to 7\.\d+/,
    },
    {
      name: 'virtio features of a later release',
      change: forgeDevices(({ devices }) => {
        Object.assign(devices[0]!.transport as object, { driver_features: 1n << 50n, device_status: 15 });
      }),
      says: /virtio feature bits 50, which this device does not have/,
    },
    {
      name: 'more request queues',
      change: forgeDevices(({ devices: [device] }) => {
        const { queues } = device!.transport as { queues: unknown[] };
        queues.push(queues[1]);
      }),
      says: /requestQueues differs: the snapshot has 2, this device 1/,
    },
    {
      name: 'no devices',
      change: ({ frozen }) => {
        frozen.devices = encodeFields(null);
      },
      says: /no devices or filesystems/,
    },
    {
      name: 'lists in lists without end',
      change: ({ frozen }) => {
        frozen.devices = new Uint8Array(1e6).fill(0x81);
      },
      says: /the state is damaged/,
    },
  ];
  for (const { name, change, says } of cases) {
    it(name, async () => {
      const file = forge(layer, change);
      const ram = machine.cpu.mem8.slice();
      let id: string | undefined;
      const error = await (async () => {
        id = await store.import(file);
        await snapshots.restore(id);
      })().catch((caught: Error) => caught);
      expect(error).to.be.instanceOf(SnapshotError).with.property('message').that.matches(says);
      expect(Buffer.compare(machine.cpu.mem8.slice(), ram)).to.equal(0);
      expect(volume.readFileSync('/mine', 'utf8')).to.equal('untouched');
      if (id !== undefined) {
        for (const look of [inspect(store, id), diff(store, id, id)])
          await look.catch((caught: Error) => expect(caught).to.be.instanceOf(SnapshotError));
        await store.remove(id);
        await store.gc();
      }
      expect(['', 'store'], 'beside the store').to.include((await readdir(directory)).join());
      expect(await new DirectoryStore(join(directory, 'store')).list()).to.deep.equal([]);
    });
  }

  it('the same file, not forged, is restored', async () => {
    const id = await store.import(forge(layer, () => {}));
    expect(hashNames(store.frozen(id).ram.used)).to.have.length(1);
    await snapshots.restore(id);
    expect(volume.readFileSync('/dir/file', 'utf8')).to.equal('text');
  });
});
