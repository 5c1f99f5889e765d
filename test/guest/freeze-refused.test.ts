import { expect } from 'chai';
import { loadCodec, MachineSnapshots, MemoryStore, SnapshotError, SnapshotStore } from '../../device/index.ts';
import { decodeHead, decodePrefix, LAYER_VERSION, PREFIX_LENGTH } from '../../device/snapshot/layer.ts';
import { createEmulator } from '../../harness/machine/emulator.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { compileV86 } from '../../harness/node/v86.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useGuest } from '../support/guest.ts';

const codec = loadCodec();

describe('a snapshot that is not sound, or of another machine, is refused with one error, and the guest runs on', function () {
  this.timeout(240_000);
  const guest = useGuest();
  let layer: Buffer;
  let headEnd: number;

  before(async () => {
    const { vm, sh } = guest;
    const store = await SnapshotStore.open(new MemoryStore(), codec);
    await sh('echo snapshot > whose');
    layer = Buffer.concat(await store.export((await vm.freeze(store, 'sound')).id));
    headEnd = PREFIX_LENGTH + decodePrefix(layer, 'x').headLength;
    // What must be untouched: a file, and a process that counts.
    await sh('echo mine > whose; (while :; do echo $((n=n+1)) > /tmp/count; sleep 0.01; done) > /dev/null 2>&1 &');
  });

  /** The one error that every way to restore from `files` ends in. */
  async function refusal(attempt: () => Promise<unknown>): Promise<Error> {
    const error = await attempt().then(
      () => undefined,
      (caught: Error) => caught,
    );
    expect(error).to.satisfy(
      (caught: unknown) => caught instanceof SnapshotError || caught instanceof VmError,
      `refused with ${error?.name}: ${error?.message}`,
    );
    return error!;
  }

  async function runsOn(): Promise<void> {
    expect(
      await guest.sh('cat whose; a=$(cat /tmp/count); sleep 0.2; [ "$(cat /tmp/count)" != "$a" ] && echo counts'),
    ).to.equal('mine\ncounts\n');
  }

  const open = (bytes: Uint8Array) => SnapshotStore.open(new MemoryStore([['damaged.layer', bytes]]), codec);
  const restore = async (bytes: Uint8Array) => {
    const store = await open(bytes);
    await guest.vm.thaw(store, store.find('sound'));
  };
  const flipped = (at: number, bytes = Buffer.from(layer)) => {
    bytes[at]! ^= 1;
    return bytes;
  };

  it('cut off at every 1 KiB', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), codec);
    for (let end = 0; end < layer.length; end += 1024) {
      const error = await refusal(() => store.import(layer.subarray(0, end)));
      expect(error.message, `${end} bytes`).to.match(/truncated/);
    }
    // In place in a store it is found when its chunks are read.
    for (const part of [0.01, 0.3, 0.6, 0.9, 0.999])
      await refusal(() => restore(layer.subarray(0, Math.floor(part * layer.length))));
    await runsOn();
  });

  it('with a byte of its head flipped', async () => {
    const head = Buffer.from(layer.subarray(0, headEnd));
    for (let at = 0; at < headEnd; at += at < 512 ? 1 : 101) {
      await refusal(() => restore(flipped(at, head)));
      flipped(at, head);
    }
    await runsOn();
  });

  it('with bytes of a chunk flipped, chunks that changed places, or one that is missing', async () => {
    for (const part of [0, 0.25, 0.5, 0.75, 0.999]) {
      const bytes = Buffer.from(layer);
      const at = headEnd + Math.floor(part * (layer.length - headEnd));
      // A single byte may be the distance to a copy, and another copy as good: then the chunk is what it should be.
      bytes.fill(0xa5, at, at + 16);
      const error = await refusal(() => restore(bytes));
      expect(error.message).to.match(/is damaged: its chunk/);
    }
    const { chunks } = decodeHead(codec, decodePrefix(layer, 'x'), layer.subarray(PREFIX_LENGTH, headEnd), 'x');
    const first = new DataView(chunks.packed.slice().buffer).getUint32(0, true);
    const swapped = Buffer.concat([
      layer.subarray(0, headEnd),
      layer.subarray(headEnd + first),
      layer.subarray(headEnd, headEnd + first),
    ]);
    expect((await refusal(() => restore(swapped))).message).to.match(/is damaged: its chunk/);
    const files = new MemoryStore();
    const store = await SnapshotStore.open(files, codec);
    await store.import(layer);
    await guest.sh('echo more > more');
    // The second one builds on the first.
    const { id } = await guest.vm.freeze(store, 'second');
    const { id: later } = await guest.vm.freeze(store, 'third');
    const without = new MemoryStore();
    for (const name of await files.list())
      if (!name.startsWith(id)) await without.write(name, [await files.read(name, 0)]);
    const partial = await SnapshotStore.open(without, codec);
    expect((await refusal(() => guest.vm.thaw(partial, later))).message).to.match(/missing from the store/);
    await runsOn();
  });

  it('of a newer version', async () => {
    const newer = Buffer.from(layer);
    newer.writeUInt32LE(LAYER_VERSION + 1, 8);
    expect((await refusal(() => restore(newer))).message).to.match(
      new RegExp(`format version ${LAYER_VERSION + 1}, and this release reads .*: use a newer release`),
    );
    await runsOn();
  });

  it('of a machine with other memory, other devices, or another tag @long', async () => {
    for (const [options, says] of [
      [{ memory: 128, shares: [{ tag: 'share' }] }, /memory in MiB: the snapshot has 128, this machine 256/],
      [
        { shares: [{ tag: 'share' }, { tag: 'second' }] },
        /devices: the snapshot has .*virtio-fs share, virtio-fs second, this machine .*virtio-fs share/,
      ],
      [{ shares: [{ tag: 'other' }] }, /devices: the snapshot has .*virtio-fs other, this machine .*virtio-fs share/],
    ] as const) {
      const other = await Vm.boot({ ...options, shares: [...options.shares] });
      const store = await SnapshotStore.open(new MemoryStore(), codec);
      const { id } = await other.freeze(store);
      await other.stop();
      expect((await refusal(() => guest.vm.thaw(store, id))).message).to.match(says);
      await runsOn();
    }
  });

  it('of a v86 without a virtio-fs device', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), codec);
    let snapshots: Promise<MachineSnapshots>;
    const plain = await createEmulator(
      { memory_size: 256 << 20, vga_memory_size: 256 << 10, uart1: true, net_device: { type: 'ne2k' } } as never,
      await compileV86(),
      (emulator) => {
        snapshots = MachineSnapshots.of(emulator, store);
      },
    );
    const { id } = await (await snapshots!).freeze({ machine: { ...guest.vm.config } });
    await plain.destroy();
    expect((await refusal(() => guest.vm.thaw(store, id))).message).to.match(
      /devices differ: the snapshot has none; this emulator "share" in slot 13/,
    );
    await runsOn();
  });
});
