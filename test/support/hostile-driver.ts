import type { FlatMemory } from '../../device/flat-memory.ts';
import { viewQueue } from '../../device/inspect/rings.ts';
import { walkIn } from '../../device/inspect/walk.ts';
import { type Chain, DEFERRED, type VirtioDevice } from '../../device/virtio/device.ts';
import { BAR, BAR_SIZE, PCI_CFG_BAR, PCI_CFG_DATA } from '../../device/virtio/pci-config-space.ts';
import { PciTransport } from '../../device/virtio/pci-transport.ts';
import { CountingMemory } from './counting-memory.ts';
import { FakeTurns } from './fake-turns.ts';

const MEMORY_SIZE = 1 << 16;
/** Where the hostile driver puts its rings, so that they are hit often. */
const RINGS = 0x1000;
const WIDTHS = [1, 2, 4] as const;
/** What it may take to find a chain, whatever the driver has put together. */
const ACCESSES_PER_DESCRIPTOR = 6;
const ACCESSES_PER_CHAIN = 20;
/** Steps between two looks of an inspector. */
const LOOK_EVERY = 50;

/** A small generator of repeatable random numbers (mulberry32). */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Reads all, writes at odd places, changes guest RAM while it serves, and now and then keeps a chain. */
class RestlessDevice implements VirtioDevice {
  readonly deviceId = 26;
  readonly deviceFeatures = 1n << 22n;
  readonly answersInOrder = true;
  readonly queueSizes = [8, 16, 1024];
  readonly config = new Uint8Array(48);
  readonly kept = new Set<Chain>();
  served = 0;
  /** Called before each request, and after it. */
  onServe = (_queueIndex: number) => {};
  onServed = () => {};
  readonly #random: (below: number) => number;
  readonly #memory: FlatMemory;
  readonly #scratch = new Uint8Array(256);

  constructor(random: (below: number) => number, memory: FlatMemory) {
    this.#random = random;
    this.#memory = memory;
  }

  negotiated(): void {}
  reset(): void {}

  abandon(chain: Chain): void {
    this.kept.delete(chain);
  }

  serve(queueIndex: number, chain: Chain): number {
    this.onServe(queueIndex);
    const answer = this.#answer(chain);
    this.onServed();
    return answer;
  }

  #answer(chain: Chain): number {
    const random = this.#random;
    this.served++;
    while (chain.source.remaining > 0 && random(8)) chain.source.read(this.#scratch, 0, random(256));
    this.#memory.bytes[random(MEMORY_SIZE)] = random(256);
    const { capacity } = chain.sink;
    for (let n = random(3); n > 0; n--)
      chain.sink.writeAt(random(Math.min(capacity + 10, 1e6)), this.#scratch, 0, random(256));
    if (random(6) === 0) {
      this.kept.add(chain);
      return DEFERRED;
    }
    return random(3) ? Math.min(capacity, 100) : random(2 ** 31);
  }

  /** Answers some of what was kept. */
  answer(): void {
    for (const chain of [...this.kept]) {
      if (this.#random(2)) continue;
      this.kept.delete(chain);
      chain.complete(this.#random(1000));
    }
  }
}

export interface Outcome {
  served: number;
  errors: number;
  resets: number;
  restores: number;
  /** Descriptors that the inspector has seen. */
  looks: number;
}

/**
 * Drives a transport as no driver should for `steps` steps: registers of any width anywhere, rings
 * in any state, RAM that changes while the device looks, configuration space, state in and out. The
 * memory throws on any access outside itself that the transport does not expect; whatever reaches
 * the caller is a fault of the transport.
 */
export function driveWildly(seed: number, steps: number): Outcome {
  const random = randomNumbers(seed);
  const memory = new CountingMemory(MEMORY_SIZE);
  const device = new RestlessDevice(random, memory);
  const turns = new FakeTurns();
  const packed = random(2) === 1;
  const transport = new PciTransport({
    device,
    memory,
    setIrq: () => {},
    offer: { packed, inOrder: random(2) === 1 },
    turns,
    turnBudget: random(4),
  });
  const outcome: Outcome = { served: 0, errors: 0, resets: 0, restores: 0, looks: 0 };
  transport.onError((error) => {
    if (error.kind === 'device') throw error;
    outcome.errors++;
  });
  const common = (offset: number, width: number, value: number) =>
    transport.writeBar(BAR.common.offset + offset, width, value);

  const setUp = () => {
    common(0x14, 1, 0);
    common(0x14, 1, 3);
    const masks = [
      0x10000000 * random(4) + (random(2) << 22),
      1 | (random(2) ? 4 : 0) | (random(2) ? 8 : 0) | (random(2) ? 256 : 0),
    ];
    common(0x00, 4, 0);
    const offered = [transport.readBar(4, 4), (common(0x00, 4, 1), transport.readBar(4, 4))];
    masks.forEach((mask, select) => {
      common(0x08, 4, select);
      common(0x0c, 4, (mask & offered[select]!) >>> 0);
    });
    common(0x14, 1, 11);
    for (const queue of [0, 1, 2]) {
      common(0x16, 2, queue);
      common(0x18, 2, random(4) ? 8 : 1 << random(6));
      const base = RINGS + queue * 0x800;
      common(0x20, 4, base);
      common(0x28, 4, base + 0x400);
      common(0x30, 4, base + 0x600);
      common(0x1c, 2, 1);
    }
    memory.bytes.fill(0, RINGS, RINGS + 0x1800);
    common(0x14, 1, 15);
    outcome.resets++;
  };

  /** A descriptor that is plausible more often than not, in a ring or a table. */
  const descriptor = () => {
    const at = RINGS + random(3) * 0x800 + 16 * random(random(4) ? 8 : 64);
    memory.writeU32(at, random(10) ? random(MEMORY_SIZE) : random(2 ** 32));
    memory.writeU32(at + 4, random(30) ? 0 : random(2 ** 32));
    memory.writeU32(at + 8, random(10) ? 16 * random(40) : random(2 ** 32));
    const turn = packed ? [0x80, 0x8000, 0x8080, 0][random(4)]! : 0;
    memory.writeU16(at + (packed ? 14 : 12), random(20) ? turn | random(8) : random(65536));
    memory.writeU16(at + (packed ? 12 : 14), random(20) ? random(8) : random(65536));
  };
  const makeAvailable = () => {
    const base = RINGS + random(3) * 0x800 + 0x400;
    memory.writeU16(base + 4 + 2 * random(8), random(20) ? random(8) : random(65536));
    memory.writeU16(base + 2, random(20) ? memory.readU16(base + 2) + 1 + random(3) : random(65536));
    memory.writeU16(base, random(4));
  };
  const saveAndRestore = () => {
    const state = structuredClone(transport.state());
    transport.restoreState(PciTransport.checkState(state, transport));
    device.kept.clear();
    for (const { inFlight } of transport.queues) for (const chain of inFlight) device.kept.add(chain);
    outcome.restores++;
  };

  /** Looks into the rings, and holds the device for a while now and then. */
  const look = (count: number) => {
    for (const { index } of transport.queues) outcome.looks += viewQueue(transport, index).descriptors.length;
    walkIn({ transport, session: { negotiated: undefined } });
    memory.accesses = 0;
    if (count % 40 === 0) transport.hold();
    if (transport.isHeld) transport.step();
    if (count % 40 === 5) transport.release();
  };

  device.onServe = (queueIndex) => {
    const { size } = transport.queues[queueIndex]!;
    const { accesses } = memory;
    if (accesses > ACCESSES_PER_CHAIN + ACCESSES_PER_DESCRIPTOR * size)
      throw new Error(`${accesses} accesses to RAM for one chain of a queue of ${size}`);
  };
  device.onServed = () => {
    memory.accesses = 0;
    if (random(3) === 0) turns.time++;
  };

  setUp();
  for (let step = 0; step < steps; step++) {
    memory.accesses = 0;
    switch (random(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        descriptor();
        break;
      case 4:
      case 5:
        makeAvailable();
        break;
      case 6:
      case 7:
      case 8:
        transport.writeBar(BAR.notify.offset, 2, random(random(20) ? 3 : 65536));
        break;
      case 9:
        transport.writeBar(random(BAR_SIZE), WIDTHS[random(3)]!, random(2) ? random(16) : random(2 ** 32));
        break;
      case 10:
        transport.readBar(random(BAR_SIZE), WIDTHS[random(3)]!);
        break;
      case 11:
        transport.readConfig(random(256), WIDTHS[random(3)]!);
        break;
      case 12:
        transport.writeConfig(
          random(4) ? PCI_CFG_BAR + random(PCI_CFG_DATA + 4 - PCI_CFG_BAR) : random(256),
          WIDTHS[random(3)]!,
          random(2) ? random(16) : random(2 ** 32),
        );
        break;
      case 13:
        memory.bytes[random(MEMORY_SIZE)] = random(256);
        break;
      case 14:
        device.answer();
        if (random(4) === 0) turns.turn();
        break;
      case 15:
        if (random(40) === 0) saveAndRestore();
        else if (transport.deviceStatus & 0x40 || random(100) === 0) setUp();
        break;
    }
    if (step % LOOK_EVERY === 0) look(step / LOOK_EVERY);
    const held = transport.queues.reduce((sum, { inFlight }) => sum + inFlight.size, 0);
    if (held > 8 + 16 + 1024) throw new Error(`step ${step}: ${held} chains are with the device`);
  }
  outcome.served = device.served;
  return outcome;
}
