import { VIRTIO_CONFIG_S_FEATURES_OK } from './constants.ts';
import type { ChainState } from './descriptor-chain.ts';
import type { FeaturesState } from './features.ts';
import type { PciFunctionState } from './pci-function.ts';
import type { RingState } from './ring.ts';
import type { QueueState } from './virtqueue.ts';

/** All that a transport carries through a snapshot, by the specification's names. */
export interface TransportState extends FeaturesState, PciFunctionState {
  device_status: number;
  config_generation: number;
  queue_select: number;
  isr: number;
  /** The device was taken out, and is as after a reset. Missing: it is there. */
  unplugged?: boolean;
  queues: QueueState[];
}

const U8 = 0xff;
const U16 = 0xffff;
const U32 = 0xffffffff;

/** What a transport can take over. */
interface Limits {
  /** How many queues there are for a driver that has accepted `features`. */
  queueCount(features: bigint): number;
  features: bigint;
}

/** Checks types and ranges, not yet what the numbers mean for guest RAM. @throws Error that names the field. */
export function checkTransportState(state: unknown, { queueCount, features }: Limits): TransportState {
  const reader = new FieldReader(state, 'transport');
  const driver_features = reader.bigint('driver_features');
  const device_status = reader.integer('device_status', U8);
  const unknown = driver_features & ~features;
  if (device_status & VIRTIO_CONFIG_S_FEATURES_OK && unknown !== 0n) {
    const bits = [...unknown.toString(2)].reverse().flatMap((digit, n) => (digit === '1' ? [n] : []));
    throw new Error(`the guest has negotiated virtio feature bits ${bits.join(', ')}, which this device does not have`);
  }
  const queues = reader.array('queues');
  const count = queueCount(driver_features);
  if (queues.length !== count) {
    const others = 1 + count - queueCount(0n);
    throw new Error(
      `requestQueues differs: the snapshot has ${queues.length - others}, this device ${count - others}; attach it with the snapshot's`,
    );
  }
  const unplugged = reader.field('unplugged') !== undefined && reader.boolean('unplugged');
  if (unplugged && device_status !== 0)
    throw new Error(`transport.device_status is ${device_status} of a device that was taken out: expected 0`);
  const window = new FieldReader(reader.field('pci_cfg'), 'transport.pci_cfg');
  return {
    device_feature_select: reader.integer('device_feature_select', U32),
    driver_feature_select: reader.integer('driver_feature_select', U32),
    driver_features,
    accepts_unknown: reader.boolean('accepts_unknown'),
    device_status,
    config_generation: reader.integer('config_generation', U8),
    queue_select: reader.integer('queue_select', U16),
    isr: reader.integer('isr', 3),
    intx_disabled: reader.boolean('intx_disabled'),
    power_state: reader.integer('power_state', 3),
    pci_cfg: {
      bar: window.integer('bar', U8),
      offset: window.integer('offset', U32),
      length: window.integer('length', U32),
    },
    ...(unplugged && { unplugged }),
    queues: queues.map((queue, index) => checkQueue(queue, `transport.queues[${index}]`)),
  };
}

function checkQueue(state: unknown, path: string): QueueState {
  const reader = new FieldReader(state, path);
  const queue_enable = reader.boolean('queue_enable');
  const queue_size = reader.integer('queue_size', U16);
  return {
    queue_size,
    queue_enable,
    queue_desc: reader.integer('queue_desc', Number.MAX_VALUE),
    queue_driver: reader.integer('queue_driver', Number.MAX_VALUE),
    queue_device: reader.integer('queue_device', Number.MAX_VALUE),
    ring: queue_enable ? checkRing(reader.field('ring'), `${path}.ring`) : undefined,
    inFlight: reader.array('inFlight', queue_size).map((chain, n) => checkChain(chain, `${path}.inFlight[${n}]`)),
  };
}

function checkRing(state: unknown, path: string): RingState {
  const reader = new FieldReader(state, path);
  return {
    next_avail: reader.integer('next_avail', U16),
    next_used: reader.integer('next_used', U16),
    avail_wrap: reader.integer('avail_wrap', 1),
    used_wrap: reader.integer('used_wrap', 1),
    unsignalled: reader.integer('unsignalled', U32),
  };
}

function checkChain(state: unknown, path: string): ChainState {
  const reader = new FieldReader(state, path);
  const buffers = reader.array('buffers');
  if (buffers.length % 2 !== 0 || !buffers.every((value) => Number.isSafeInteger(value) && (value as number) >= 0)) {
    throw new Error(`${path}.buffers are not pairs of address and length`);
  }
  return {
    id: reader.integer('id', U16),
    slots: reader.integer('slots', U16),
    buffers: buffers as number[],
    readable: reader.integer('readable', buffers.length / 2),
  };
}

/** Reads named fields of decoded data, and complains by their paths. */
class FieldReader {
  readonly #fields: Record<string, unknown>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null) throw new Error(`${path} is missing`);
    this.#fields = value as Record<string, unknown>;
    this.#path = path;
  }

  field(name: string): unknown {
    return this.#fields[name];
  }

  integer(name: string, max: number): number {
    const value = this.field(name);
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > max)
      throw this.#unexpected(name, `an integer from 0 to ${max}`);
    return value as number;
  }

  bigint(name: string): bigint {
    const value = this.field(name);
    if (typeof value !== 'bigint' || value < 0n) throw this.#unexpected(name, 'a bigint');
    return value;
  }

  boolean(name: string): boolean {
    const value = this.field(name);
    if (typeof value !== 'boolean') throw this.#unexpected(name, 'true or false');
    return value;
  }

  array(name: string, max = Number.MAX_SAFE_INTEGER): unknown[] {
    const value = this.field(name);
    if (!Array.isArray(value) || value.length > max) throw this.#unexpected(name, `a list of at most ${max}`);
    return value;
  }

  #unexpected(name: string, expected: string): Error {
    return new Error(
      `${this.#path}.${name} is ${JSON.stringify(this.field(name), (_, value) => (typeof value === 'bigint' ? `${value}n` : (value as unknown)))}: expected ${expected}`,
    );
  }
}
