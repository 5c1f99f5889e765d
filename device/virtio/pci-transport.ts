import type { GuestMemory } from '../guest-memory.ts';
import { COMMON_CFG, type CommonFieldName, commonFieldAt, readFields, writeFields } from './common-config.ts';
import {
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  VIRTIO_MSI_NO_VECTOR,
  VIRTIO_PCI_ISR_CONFIG,
  VIRTIO_PCI_ISR_QUEUE,
} from './constants.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import type { VirtioDevice } from './device.ts';
import type { VirtioError } from './errors.ts';
import {
  BAR,
  BAR_SIZE,
  makeConfigSpace,
  PCI_CFG_BAR,
  PCI_CFG_DATA,
  PCI_CFG_LENGTH,
  PCI_CFG_OFFSET,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  PMCSR,
  PMCSR_POWER_STATE,
} from './pci-config-space.ts';
import { QueueRunner, TURN_BUDGET } from './queue-runner.ts';
import type { TransportEvent } from './trace.ts';
import { checkTransportState, type TransportState } from './transport-state.ts';
import { TURNS, type Turns } from './turns.ts';
import { type QueueStatistics, type RingFeatures, Virtqueue } from './virtqueue.ts';

/** Features that a host may not want to offer. */
export interface OfferedFeatures {
  /** VIRTIO_F_INDIRECT_DESC. Default: true. */
  indirect?: boolean;
  /** VIRTIO_F_EVENT_IDX. Default: true. */
  eventIdx?: boolean;
  /** VIRTIO_F_RING_PACKED: the packed ring in place of the split one. Default: false. */
  packed?: boolean;
  /** VIRTIO_F_IN_ORDER, where the device never defers an answer. Default: false. */
  inOrder?: boolean;
  /** VIRTIO_F_RING_RESET. Default: true. */
  ringReset?: boolean;
}

export interface PciTransportOptions {
  device: VirtioDevice;
  memory: GuestMemory;
  /** Drives INTA#. */
  setIrq: (level: boolean) => void;
  offer?: OfferedFeatures;
  /** Default: those of a machine that always runs. */
  turns?: Turns;
  /** Milliseconds of one turn of the event loop that requests may take. Default: 15. */
  turnBudget?: number;
}

const bit = (n: number): bigint => 1n << BigInt(n);
const VERSION_1 = bit(VIRTIO_F_VERSION_1);
const SELECTED_BITS = 0xffffffffn;
/** Feature bits that have a window; further windows read as 0 (4.1.4.3.1). */
const FEATURE_WINDOWS = 2;

/** A virtio device on PCI, "modern" and without MSI-X: virtio 1.3, section 4.1. */
export class PciTransport {
  /** Configuration space at reset. */
  readonly configSpace: Uint8Array;
  readonly barSize = BAR_SIZE;
  readonly queues: readonly Virtqueue[];
  /** Called when the driver has broken the rules, and the device waits for a reset. */
  onError: ((error: VirtioError) => void) | undefined;
  /** Called with everything that passes between driver and device, while set. */
  onTrace: ((event: TransportEvent) => void) | undefined;
  readonly #device: VirtioDevice;
  readonly #setIrq: (level: boolean) => void;
  /** All that the transport and the device can do, and what of it is offered. */
  readonly #implemented: bigint;
  readonly #offered: bigint;
  readonly #runner: QueueRunner;
  /** Device configuration when the driver looked at it last. */
  #seenConfig: Uint8Array;

  #device_feature_select = 0;
  #driver_feature_select = 0;
  #driver_features = 0n;
  /** The driver has accepted bits that no window has. */
  #acceptsUnknown = false;
  #device_status = 0;
  #config_generation = 0;
  #queue_select = 0;
  #isr = 0;
  #irq = false;
  #intxDisabled = false;
  #powerState = 0;
  /** What the driver has put into `virtio_pci_cfg_cap`. */
  #window = { bar: 0, offset: 0, length: 0 };

  constructor({ device, memory, setIrq, offer = {}, turns = TURNS, turnBudget = TURN_BUDGET }: PciTransportOptions) {
    const { indirect = true, eventIdx = true, packed = false, inOrder = false, ringReset = true } = offer;
    this.#device = device;
    this.#setIrq = setIrq;
    const own = (isOffered: boolean, n: number) => (isOffered ? bit(n) : 0n);
    const always = VERSION_1 | device.deviceFeatures;
    this.#offered =
      always |
      own(indirect, VIRTIO_F_INDIRECT_DESC) |
      own(eventIdx, VIRTIO_F_EVENT_IDX) |
      own(packed, VIRTIO_F_RING_PACKED) |
      own(inOrder && device.answersInOrder, VIRTIO_F_IN_ORDER) |
      own(ringReset, VIRTIO_F_RING_RESET);
    this.#implemented =
      this.#offered |
      [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET].reduce(
        (all, n) => all | bit(n),
        own(device.answersInOrder, VIRTIO_F_IN_ORDER),
      );
    this.configSpace = makeConfigSpace(device.deviceId, device.config.length);
    this.#seenConfig = device.config.slice();
    const transport = this;
    this.queues = device.queueSizes.map(
      (size, index) =>
        new Virtqueue(index, size, memory, {
          interrupt: () => this.#raise(VIRTIO_PCI_ISR_QUEUE),
          fail: (error) => this.#fail(error),
          get onTrace() {
            return transport.onTrace;
          },
        }),
    );
    this.#runner = new QueueRunner({
      queues: this.queues,
      serve: (queueIndex, chain) => device.serve(queueIndex, chain),
      isLive: () => this.isLive,
      turns,
      budget: turnBudget,
    });
  }

  /** `device_status` as the driver reads it. */
  get deviceStatus(): number {
    return this.#device_status;
  }

  /** Feature bits offered, and those that the driver has accepted. */
  get features(): { offered: bigint; accepted: bigint } {
    return { offered: this.#offered, accepted: this.#driver_features };
  }

  /** Per virtqueue. Borrowed: the counts go on. */
  get statistics(): readonly Readonly<QueueStatistics>[] {
    return this.queues.map(({ statistics }) => statistics);
  }

  /** 3.1.1: the device does nothing with its queues before DRIVER_OK, nor after an error (2.1.2). */
  get isLive(): boolean {
    return (
      (this.#device_status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) === VIRTIO_CONFIG_S_DRIVER_OK
    );
  }

  /** The rings' format, as negotiated. */
  get ringFeatures(): RingFeatures {
    return ringFeatures(this.#driver_features);
  }

  /** `virtio_pci_common_cfg` by the specification's names, as it is without an access by the driver. */
  get common(): Record<CommonFieldName, number> {
    return Object.fromEntries(
      COMMON_CFG.map(({ name }) => [
        name,
        name === 'config_generation' ? this.#config_generation : this.#getCommon(name),
      ]),
    ) as Record<CommonFieldName, number>;
  }

  #negotiated(n: number): boolean {
    return (this.#driver_features & bit(n)) !== 0n;
  }

  /** `width` is 1, 2 or 4 bytes; so it is for all of the register accesses below. */
  readBar(offset: number, width: number): number {
    const { common, isr, device } = BAR;
    if (offset < common.length) {
      const value = readFields(offset, width, this.#getCommon);
      this.onTrace?.({
        type: 'register',
        region: 'common',
        access: 'read',
        field: commonFieldAt(offset)?.name,
        offset,
        width,
        value,
      });
      return value;
    }
    if (offset >= device.offset) {
      const value = this.#readDeviceConfig(offset - device.offset, width);
      this.onTrace?.({
        type: 'register',
        region: 'device',
        access: 'read',
        field: undefined,
        offset: offset - device.offset,
        width,
        value,
      });
      return value;
    }
    if (offset !== isr.offset) return 0;
    // 4.1.4.5.1: reading clears, and takes the interrupt back.
    const value = this.#isr;
    this.#isr = 0;
    this.#updateIrq();
    this.onTrace?.({ type: 'register', region: 'isr', access: 'read', field: 'ISR status', offset: 0, width, value });
    return value;
  }

  writeBar(offset: number, width: number, value: number): void {
    const { common, notify } = BAR;
    if (offset === notify.offset) {
      // 4.1.5.2: the virtqueue index, 16 bits.
      if (width > 1) this.#kick(value & 0xffff);
      else this.#kick(value);
    } else if (offset < common.length) {
      this.onTrace?.({
        type: 'register',
        region: 'common',
        access: 'write',
        field: commonFieldAt(offset)?.name,
        offset,
        width,
        value,
      });
      writeFields(offset, width, value, this.#getCommon, this.#setCommon);
    }
  }

  #readDeviceConfig(offset: number, width: number): number {
    this.#noteConfig();
    const config = this.#seenConfig;
    let value = 0;
    for (let byte = Math.min(width, config.length - offset) - 1; byte >= 0; byte--)
      value = value * 256 + config[offset + byte]!;
    return value;
  }

  /** 4.1.4.3.1: `config_generation` changes whenever the driver may see another configuration than before. */
  #noteConfig(): void {
    const { config } = this.#device;
    if (config.every((byte, n) => byte === this.#seenConfig[n])) return;
    this.#seenConfig = config.slice();
    this.#config_generation = (this.#config_generation + 1) & 0xff;
  }

  readonly #getCommon = (name: CommonFieldName): number => {
    const queue = this.queues[this.#queue_select];
    switch (name) {
      case 'device_feature_select':
        return this.#device_feature_select;
      case 'device_feature':
        return featureWindow(this.#offered, this.#device_feature_select);
      case 'driver_feature_select':
        return this.#driver_feature_select;
      case 'driver_feature':
        return featureWindow(this.#driver_features, this.#driver_feature_select);
      case 'config_msix_vector':
      case 'queue_msix_vector':
        return VIRTIO_MSI_NO_VECTOR;
      case 'num_queues':
        return this.queues.length;
      case 'device_status':
        return this.#device_status;
      case 'config_generation':
        this.#noteConfig();
        return this.#config_generation;
      case 'queue_select':
        return this.#queue_select;
      // 4.1.4.3.1: 0 for a queue that is not there.
      case 'queue_size':
        return queue?.size ?? 0;
      case 'queue_enable':
        return queue?.isEnabled ? 1 : 0;
      case 'queue_notify_off':
        return 0;
      case 'queue_notify_data':
        return queue?.index ?? 0;
      // 4.1.4.3.1: a reset of a queue is over as soon as it was asked for.
      case 'queue_reset':
        return 0;
      default:
        return queue?.addressHalves[ADDRESS_HALVES[name]] ?? 0;
    }
  };

  readonly #setCommon = (name: CommonFieldName, value: number): void => {
    const queue = this.queues[this.#queue_select];
    switch (name) {
      case 'device_feature_select':
        this.#device_feature_select = value;
        break;
      case 'driver_feature_select':
        this.#driver_feature_select = value;
        break;
      case 'driver_feature':
        this.#acceptFeatures(value);
        break;
      case 'device_status':
        this.#setStatus(value);
        break;
      case 'queue_select':
        this.#queue_select = value;
        break;
      case 'queue_size':
        if (queue && !queue.isEnabled) queue.size = value;
        break;
      // 4.1.4.3.2: the driver must not write 0.
      case 'queue_enable':
        if (queue && value === 1 && !queue.isEnabled) this.#enable(queue);
        break;
      case 'queue_reset':
        if (queue && value === 1 && this.#negotiated(VIRTIO_F_RING_RESET)) this.#resetQueue(queue);
        break;
      case 'device_feature':
      case 'config_msix_vector':
      case 'num_queues':
      case 'config_generation':
      case 'queue_msix_vector':
      case 'queue_notify_off':
      case 'queue_notify_data':
        break;
      default:
        if (queue && !queue.isEnabled) queue.addressHalves[ADDRESS_HALVES[name]] = value;
    }
  };

  /** 3.1.1: not after FEATURES_OK. */
  #acceptFeatures(value: number): void {
    if (this.#device_status & VIRTIO_CONFIG_S_FEATURES_OK) return;
    if (this.#driver_feature_select >= FEATURE_WINDOWS) {
      this.#acceptsUnknown ||= value !== 0;
      return;
    }
    const shift = BigInt(32 * this.#driver_feature_select);
    this.#driver_features = (this.#driver_features & ~(SELECTED_BITS << shift)) | (BigInt(value) << shift);
  }

  #setStatus(value: number): void {
    if (value === 0) {
      this.reset('driver');
      return;
    }
    const before = this.#device_status;
    let status = (value & ~VIRTIO_CONFIG_S_NEEDS_RESET) | (before & VIRTIO_CONFIG_S_NEEDS_RESET);
    // 2.2.2, 6.1: only a subset of what was offered, and always VIRTIO_F_VERSION_1.
    const isAcceptable =
      !this.#acceptsUnknown &&
      (this.#driver_features & ~this.#offered) === 0n &&
      (this.#driver_features & VERSION_1) !== 0n;
    if (status & ~before & VIRTIO_CONFIG_S_FEATURES_OK && !isAcceptable) status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
    if (!(status & VIRTIO_CONFIG_S_FEATURES_OK)) status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    this.#device_status = status;
    if (!(status & ~before & VIRTIO_CONFIG_S_DRIVER_OK)) return;
    this.#device.negotiated(this.#driver_features);
    if (status & VIRTIO_CONFIG_S_NEEDS_RESET) this.#raise(VIRTIO_PCI_ISR_CONFIG);
    this.runQueues();
  }

  #enable(queue: Virtqueue): void {
    if (!(this.#device_status & VIRTIO_CONFIG_S_FEATURES_OK)) return;
    try {
      queue.enable(ringFeatures(this.#driver_features));
    } catch (error) {
      this.#fail(error as VirtioError);
    }
  }

  /** 2.6.1: the queue alone goes back to its state at reset. */
  #resetQueue(queue: Virtqueue): void {
    this.onTrace?.({ type: 'reset', cause: 'queue', queue: queue.index });
    for (const chain of queue.reset()) this.#device.abandon(chain);
  }

  /** 2.4.1: everything goes back to its defaults; what is with the device is dead. */
  reset(cause: 'driver' | 'machine'): void {
    this.onTrace?.({ type: 'reset', cause });
    this.#device_feature_select = this.#driver_feature_select = this.#queue_select = 0;
    this.#driver_features = 0n;
    this.#acceptsUnknown = false;
    this.#device_status = 0;
    this.#isr = 0;
    if (cause === 'machine') {
      this.#intxDisabled = false;
      this.#powerState = 0;
      this.#window = { bar: 0, offset: 0, length: 0 };
    }
    this.#runner.forget();
    for (const queue of this.queues) {
      for (const chain of queue.reset()) this.#device.abandon(chain);
    }
    this.#updateIrq();
    this.#device.reset(cause);
  }

  #kick(index: number): void {
    this.onTrace?.({ type: 'kick', queue: index });
    const queue = this.queues[index];
    if (!queue) return;
    queue.statistics.kicks++;
    this.runQueues();
  }

  /**
   * Serves what is available, as at a kick; nothing while the device is held. Looks at every queue, kicked or not: a driver
   * may have lost a kick, or was kicking a held device when its machine was frozen.
   */
  runQueues(): void {
    this.#runner.run();
  }

  /** Whether available requests wait for a later turn of the event loop, because those before them took long. */
  get isPending(): boolean {
    return this.#runner.isPending;
  }

  /** See {@link hold}. */
  get isHeld(): boolean {
    return this.#runner.isHeld;
  }

  /**
   * Leaves in the queues what the driver makes available, until {@link step} or {@link release}: the guest goes on, and its
   * requests wait. No part of the device's state: resets and restores change nothing of it, snapshots have nothing of it.
   * Several may hold a device; each ends that by itself.
   */
  hold(holder: unknown = this): void {
    this.#runner.hold(holder);
  }

  /** Serves one chain of a held device, the one that it would serve first. False when there is none. */
  step(): boolean {
    return this.#runner.step();
  }

  /** Ends {@link hold}, and serves what has come up meanwhile. */
  release(holder: unknown = this): void {
    this.#runner.release(holder);
  }

  /** Serves a chain once more that is in flight already: what would have answered it is not here any more. */
  askAgain(queueIndex: number, chain: DescriptorChain): void {
    this.#runner.askAgain(queueIndex, chain);
  }

  /** 2.1.2: DEVICE_NEEDS_RESET, and a configuration change notification if DRIVER_OK is set. */
  #fail(error: VirtioError): void {
    this.#device_status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (this.#device_status & VIRTIO_CONFIG_S_DRIVER_OK) this.#raise(VIRTIO_PCI_ISR_CONFIG);
    this.onError?.(error);
  }

  #raise(isr: number): void {
    if (isr === VIRTIO_PCI_ISR_CONFIG) this.onTrace?.({ type: 'config interrupt' });
    this.#isr |= isr;
    this.#updateIrq();
  }

  #updateIrq(): void {
    const level = this.#isr !== 0 && !this.#intxDisabled;
    if (level === this.#irq) return;
    this.#irq = level;
    this.#setIrq(level);
  }

  /** Configuration space from {@link PCI_STATUS} on, as far as it is more than plain memory. */
  readConfig(offset: number, width: number): number {
    const space = this.configSpace.slice();
    const view = new DataView(space.buffer);
    const { bar, offset: at, length } = this.#window;
    view.setUint16(PCI_STATUS, view.getUint16(PCI_STATUS, true) | (this.#isr ? PCI_STATUS_INTERRUPT : 0), true);
    view.setUint16(PMCSR, (view.getUint16(PMCSR, true) & ~PMCSR_POWER_STATE) | this.#powerState, true);
    space[PCI_CFG_BAR] = bar;
    view.setUint32(PCI_CFG_OFFSET, at, true);
    view.setUint32(PCI_CFG_LENGTH, length, true);
    // 4.1.4.9.1: reading the data carries out a read of the BAR.
    if (offset < PCI_CFG_DATA + 4 && offset + width > PCI_CFG_DATA && this.#isWindowValid)
      view.setUint32(PCI_CFG_DATA, this.readBar(at, length), true);
    let value = 0;
    for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + (space[offset + byte] ?? 0);
    return value;
  }

  writeConfig(offset: number, width: number, value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    const covers = (field: number) => offset <= field && field < offset + width;
    const merge = (field: number, old: number) => {
      const merged = new Uint8Array(4);
      const view = new DataView(merged.buffer);
      view.setUint32(0, old, true);
      for (let n = 0; n < 4; n++) if (covers(field + n)) merged[n] = bytes[field + n - offset]!;
      return view.getUint32(0, true);
    };
    if (covers(PCI_COMMAND + 1)) {
      this.#intxDisabled = (merge(PCI_COMMAND, 0) & PCI_COMMAND_INTX_DISABLE) !== 0;
      this.#updateIrq();
    }
    if (covers(PMCSR)) this.#powerState = bytes[PMCSR - offset]! & PMCSR_POWER_STATE;
    if (covers(PCI_CFG_BAR)) this.#window.bar = bytes[PCI_CFG_BAR - offset]!;
    if (offset + width > PCI_CFG_OFFSET && offset < PCI_CFG_OFFSET + 4)
      this.#window.offset = merge(PCI_CFG_OFFSET, this.#window.offset);
    if (offset + width > PCI_CFG_LENGTH && offset < PCI_CFG_LENGTH + 4)
      this.#window.length = merge(PCI_CFG_LENGTH, this.#window.length);
    // 4.1.4.9.1: writing the data carries out a write to the BAR.
    if (offset === PCI_CFG_DATA && this.#isWindowValid) {
      this.writeBar(this.#window.offset, this.#window.length, value % 2 ** (8 * Math.min(width, this.#window.length)));
    }
  }

  /** 4.1.4.9.2: a length of 1, 2 or 4, an offset that is a multiple of it, a BAR that is there. */
  get #isWindowValid(): boolean {
    const { bar, offset, length } = this.#window;
    return (
      bar === 0 &&
      (length === 1 || length === 2 || length === 4) &&
      offset % length === 0 &&
      offset + length <= BAR_SIZE
    );
  }

  state(): TransportState {
    return {
      device_feature_select: this.#device_feature_select,
      driver_feature_select: this.#driver_feature_select,
      driver_features: this.#driver_features,
      accepts_unknown: this.#acceptsUnknown,
      device_status: this.#device_status,
      config_generation: this.#config_generation,
      queue_select: this.#queue_select,
      isr: this.#isr,
      intx_disabled: this.#intxDisabled,
      power_state: this.#powerState,
      pci_cfg: { ...this.#window },
      queues: this.queues.map((queue) => queue.state()),
    };
  }

  /**
   * Decides whether `transport` can take `state` over, and changes nothing.
   * @throws Error that says which setting is impossible, or differs.
   */
  static checkState(state: unknown, transport: PciTransport): TransportState {
    const checked = checkTransportState(state, {
      queueCount: transport.queues.length,
      features: transport.#implemented,
    });
    const features = ringFeatures(checked.driver_features);
    const memory = transport.queues[0]!.memory;
    const nobody = { interrupt: () => {}, fail: () => {}, onTrace: undefined };
    checked.queues.forEach((queue, index) =>
      new Virtqueue(index, transport.queues[index]!.maxSize, memory, nobody).restore(queue, features),
    );
    return checked;
  }

  /** Takes over a checked state; guest RAM and the machine's interrupt lines have been restored before. */
  restoreState(state: TransportState): void {
    this.#device_feature_select = state.device_feature_select;
    this.#driver_feature_select = state.driver_feature_select;
    this.#driver_features = state.driver_features;
    this.#acceptsUnknown = state.accepts_unknown;
    this.#device_status = state.device_status;
    this.#config_generation = state.config_generation;
    this.#queue_select = state.queue_select;
    this.#isr = state.isr;
    this.#intxDisabled = state.intx_disabled;
    this.#powerState = state.power_state;
    this.#window = { ...state.pci_cfg };
    state.queues.forEach((queue, index) => this.queues[index]!.restore(queue, ringFeatures(state.driver_features)));
    if (state.device_status & VIRTIO_CONFIG_S_DRIVER_OK) this.#device.negotiated(state.driver_features);
    this.#seenConfig = this.#device.config.slice();
    this.#irq = false;
    this.#updateIrq();
    // What was available may have been waiting for a later turn, which is this machine's now.
    this.#runner.lookSoon();
  }
}

const ADDRESS_HALVES = {
  queue_desc_lo: 0,
  queue_desc_hi: 1,
  queue_driver_lo: 2,
  queue_driver_hi: 3,
  queue_device_lo: 4,
  queue_device_hi: 5,
} as const;

function featureWindow(features: bigint, select: number): number {
  return select < FEATURE_WINDOWS ? Number((features >> BigInt(32 * select)) & SELECTED_BITS) : 0;
}

function ringFeatures(features: bigint): RingFeatures {
  const has = (n: number) => (features & bit(n)) !== 0n;
  return {
    isPacked: has(VIRTIO_F_RING_PACKED),
    hasIndirect: has(VIRTIO_F_INDIRECT_DESC),
    hasEventIdx: has(VIRTIO_F_EVENT_IDX),
  };
}
