import type { GuestMemory } from '../guest-memory.ts';
import { Listeners } from '../listeners.ts';
import { COMMON_CFG, type CommonFieldName, commonFieldAt, readFields, writeFields } from './common-config.ts';
import { CommonRegisters } from './common-registers.ts';
import {
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_RING_RESET,
  VIRTIO_PCI_ISR_CONFIG,
  VIRTIO_PCI_ISR_QUEUE,
} from './constants.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import type { VirtioDevice } from './device.ts';
import { DeviceConfig } from './device-config.ts';
import { VirtioError } from './errors.ts';
import { Features, type OfferedFeatures, ringFeatures } from './features.ts';
import { Interrupt } from './interrupt.ts';
import { BAR, BAR_SIZE, makeConfigSpace } from './pci-config-space.ts';
import { PciFunction } from './pci-function.ts';
import { QueueFaults } from './queue-faults.ts';
import { QueueRunner, TURN_BUDGET } from './queue-runner.ts';
import type { TransportEvent } from './trace.ts';
import { checkTransportState, type TransportState } from './transport-state.ts';
import { TURNS, type Turns } from './turns.ts';
import { type QueueStatistics, type RingFeatures, Virtqueue } from './virtqueue.ts';

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

/** A virtio device on PCI, "modern" and without MSI-X: virtio 1.3, section 4.1. */
export class PciTransport {
  /** Configuration space at reset. */
  readonly configSpace: Uint8Array;
  readonly barSize = BAR_SIZE;
  readonly faults = new QueueFaults((queue) => this.#runner.stall(queue));
  readonly #queues: readonly Virtqueue[];
  readonly #errors = new Listeners<VirtioError>();
  readonly #traces = new Listeners<TransportEvent>();
  readonly #device: VirtioDevice;
  readonly #features: Features;
  readonly #config: DeviceConfig;
  readonly #interrupt: Interrupt;
  readonly #function: PciFunction;
  readonly #registers: CommonRegisters;
  readonly #runner: QueueRunner;
  #isUnplugged = false;

  constructor({ device, memory, setIrq, offer = {}, turns = TURNS, turnBudget = TURN_BUDGET }: PciTransportOptions) {
    this.#device = device;
    this.#features = new Features(device, offer);
    this.#config = new DeviceConfig(device);
    this.#interrupt = new Interrupt(setIrq);
    this.configSpace = makeConfigSpace(device.deviceId, device.config.length);
    this.#function = new PciFunction({
      space: this.configSpace,
      interrupt: this.#interrupt,
      readBar: (offset, width) => this.readBar(offset, width),
      writeBar: (offset, width, value) => this.writeBar(offset, width, value),
    });
    const transport = this;
    this.#queues = device.queueSizes.map(
      (size, index) =>
        new Virtqueue(index, size, memory, {
          interrupt: () => {
            if (!this.faults.loses(index)) this.#interrupt.raise(VIRTIO_PCI_ISR_QUEUE);
          },
          fail: (error) => this.#fail(error),
          serveAgain: (chain, serve) => this.#runner.serveAgain(index, chain, serve),
          get onTrace() {
            return transport.#traces.tell;
          },
        }),
    );
    this.#registers = new CommonRegisters(() => this.queues, this.#features, this.#config, {
      setStatus: (value) => this.#setStatus(value),
      enable: (queue) => this.#enable(queue),
      resetQueue: (queue) => this.#resetQueue(queue),
    });
    this.#runner = new QueueRunner({
      queues: this.#queues,
      serve: (queueIndex, chain) => device.serve(queueIndex, chain),
      isLive: () => this.isLive,
      turns,
      budget: turnBudget,
    });
  }

  /** Calls `listener` when the driver has broken the rules, and the device waits for a reset; until the function that this returns is called. */
  onError(listener: (error: VirtioError) => void): () => void {
    return this.#errors.add(listener);
  }

  /** Calls `listener` with everything that passes between driver and device, until the function that this returns is called. */
  onTrace(listener: (event: TransportEvent) => void): () => void {
    return this.#traces.add(listener);
  }

  /** Those that there are for the driver, as far as it has said what it accepts; before that, the most that there can be. */
  get queues(): readonly Virtqueue[] {
    const { offered, accepted } = this.#features;
    const isSettled = (this.#registers.device_status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0;
    return this.#queuesFor(isSettled ? accepted : offered);
  }

  #queuesFor(features: bigint): readonly Virtqueue[] {
    const count = this.#device.queueCount?.(features) ?? this.#queues.length;
    return count === this.#queues.length ? this.#queues : this.#queues.slice(0, count);
  }

  /** `device_status` as the driver reads it. */
  get deviceStatus(): number {
    return this.#registers.device_status;
  }

  /** Feature bits offered, and those that the driver has accepted. */
  get features(): { offered: bigint; accepted: bigint } {
    const { offered, accepted } = this.#features;
    return { offered, accepted };
  }

  /** Per virtqueue. Borrowed: the counts go on. */
  get statistics(): readonly Readonly<QueueStatistics>[] {
    return this.queues.map(({ statistics }) => statistics);
  }

  /** 3.1.1: the device does nothing with its queues before DRIVER_OK, nor after an error (2.1.2). */
  get isLive(): boolean {
    return (
      (this.#registers.device_status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) ===
      VIRTIO_CONFIG_S_DRIVER_OK
    );
  }

  /** The rings' format, as negotiated. */
  get ringFeatures(): RingFeatures {
    return ringFeatures(this.#features.accepted);
  }

  /** `virtio_pci_common_cfg` by the specification's names, as it is without an access by the driver. */
  get common(): Record<CommonFieldName, number> {
    return Object.fromEntries(
      COMMON_CFG.map(({ name }) => [
        name,
        name === 'config_generation' ? this.#config.generation : this.#registers.get(name),
      ]),
    ) as Record<CommonFieldName, number>;
  }

  /** `width` is 1, 2 or 4 bytes; so it is for all of the register accesses below. */
  readBar(offset: number, width: number): number {
    const { common, isr, device } = BAR;
    if (this.#isUnplugged) return 2 ** (8 * width) - 1;
    if (offset < common.length) {
      const value = readFields(offset, width, this.#registers.get);
      const field = this.#traces.tell && commonFieldAt(offset)?.name;
      this.#traces.tell?.({ type: 'register', region: 'common', access: 'read', field, offset, width, value });
      return value;
    }
    if (offset >= device.offset) {
      const at = offset - device.offset;
      const value = this.#config.read(at, width);
      const field = undefined;
      this.#traces.tell?.({ type: 'register', region: 'device', access: 'read', field, offset: at, width, value });
      return value;
    }
    if (offset !== isr.offset) return 0;
    const value = this.#interrupt.take();
    this.#traces.tell?.({
      type: 'register',
      region: 'isr',
      access: 'read',
      field: 'ISR status',
      offset: 0,
      width,
      value,
    });
    return value;
  }

  writeBar(offset: number, width: number, value: number): void {
    const { common, notify } = BAR;
    if (this.#isUnplugged) return;
    if (offset === notify.offset) {
      // 4.1.5.2: the virtqueue index, 16 bits.
      if (width > 1) this.#kick(value & 0xffff);
      else this.#kick(value);
    } else if (offset < common.length) {
      const field = this.#traces.tell && commonFieldAt(offset)?.name;
      this.#traces.tell?.({ type: 'register', region: 'common', access: 'write', field, offset, width, value });
      writeFields(offset, width, value, this.#registers.get, this.#registers.set);
    }
  }

  /** Configuration space from `PCI_STATUS` on, as far as it is more than plain memory. */
  readConfig(offset: number, width: number): number {
    return this.#function.read(offset, width);
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.#function.write(offset, width, value);
  }

  #setStatus(value: number): void {
    if (value === 0) {
      this.reset('driver');
      return;
    }
    const before = this.#registers.device_status;
    let status = (value & ~VIRTIO_CONFIG_S_NEEDS_RESET) | (before & VIRTIO_CONFIG_S_NEEDS_RESET);
    if (status & ~before & VIRTIO_CONFIG_S_FEATURES_OK && !this.#features.areAcceptable)
      status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
    if (!(status & VIRTIO_CONFIG_S_FEATURES_OK)) status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    this.#registers.device_status = status;
    if (!(status & ~before & VIRTIO_CONFIG_S_DRIVER_OK)) return;
    this.#device.negotiated(this.#features.accepted);
    if (status & VIRTIO_CONFIG_S_NEEDS_RESET) this.#notifyOfConfig();
    this.runQueues();
  }

  #enable(queue: Virtqueue): void {
    if (!(this.#registers.device_status & VIRTIO_CONFIG_S_FEATURES_OK)) return;
    try {
      queue.enable(this.ringFeatures);
    } catch (error) {
      this.#fail(error as VirtioError);
    }
  }

  /** 2.6.1: the queue alone goes back to its state at reset. */
  #resetQueue(queue: Virtqueue): void {
    if (!this.#features.has(VIRTIO_F_RING_RESET)) return;
    this.#traces.tell?.({ type: 'reset', cause: 'queue', queue: queue.index });
    for (const chain of queue.reset()) this.#device.abandon(chain);
  }

  /** 2.4.1: everything goes back to its defaults; what is with the device is dead. */
  reset(cause: 'driver' | 'machine'): void {
    this.#traces.tell?.({ type: 'reset', cause });
    this.#features.reset();
    this.#registers.queue_select = 0;
    this.#registers.device_status = 0;
    this.#runner.forget();
    for (const queue of this.#queues) {
      for (const chain of queue.reset()) this.#device.abandon(chain);
    }
    this.#interrupt.take();
    if (cause === 'machine') this.#function.reset();
    this.#device.reset(cause);
  }

  #kick(index: number): void {
    this.#traces.tell?.({ type: 'kick', queue: index });
    const queue = this.#queues[index];
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

  /** Serves one chain of a held device, the one that it would serve first. Returns whether there was one. */
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

  /** Breaks the device on purpose, as an error of the driver's would: it waits for a reset, and serves nothing more. `why`: told to {@link onError}. */
  breakDown(why = 'broken on purpose'): void {
    this.#fail(new VirtioError('device', 0, why));
  }

  /** Whether nothing answers in its place: see {@link unplug}. */
  get isUnplugged(): boolean {
    return this.#isUnplugged;
  }

  /**
   * Takes the device out on purpose, without a word to the guest: all reads of it give ones from then on, as of an empty slot, writes do nothing, and what was
   * with it is dead. A part of its state, which resets of the machine leave as it is.
   */
  unplug(): void {
    this.reset('machine');
    this.#isUnplugged = true;
  }

  /** Ends {@link unplug}: the device is there again, as after a reset. The guest finds it when it looks for new ones. */
  plugIn(): void {
    this.#isUnplugged = false;
  }

  /** 2.1.2: DEVICE_NEEDS_RESET, and a configuration change notification if DRIVER_OK is set. */
  #fail(error: VirtioError): void {
    if (this.#isUnplugged) return;
    this.#registers.device_status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (this.#registers.device_status & VIRTIO_CONFIG_S_DRIVER_OK) this.#notifyOfConfig();
    this.#errors.tell?.(error);
  }

  #notifyOfConfig(): void {
    this.#traces.tell?.({ type: 'config interrupt' });
    this.#interrupt.raise(VIRTIO_PCI_ISR_CONFIG);
  }

  state(): TransportState {
    return {
      ...this.#features.state(),
      device_status: this.#registers.device_status,
      config_generation: this.#config.generation,
      queue_select: this.#registers.queue_select,
      isr: this.#interrupt.isr,
      ...this.#function.state(),
      ...(this.#isUnplugged && { unplugged: true }),
      queues: this.#queuesFor(this.#features.accepted).map((queue) => queue.state()),
    };
  }

  /**
   * Decides whether `transport` can take `state` over, and changes nothing.
   * @throws Error that says which setting is impossible, or differs.
   */
  static checkState(state: unknown, transport: PciTransport): TransportState {
    const checked = checkTransportState(state, {
      queueCount: (features) => transport.#queuesFor(features).length,
      features: transport.#features.implemented,
    });
    const features = ringFeatures(checked.driver_features);
    const memory = transport.#queues[0]!.memory;
    const nobody = { interrupt: () => {}, fail: () => {}, serveAgain: () => {}, onTrace: undefined };
    checked.queues.forEach((queue, index) =>
      new Virtqueue(index, transport.#queues[index]!.maxSize, memory, nobody).restore(queue, features),
    );
    return checked;
  }

  /** Takes over a checked state; guest RAM and the machine's interrupt lines have been restored before. */
  restoreState(state: TransportState): void {
    this.#features.restore(state);
    this.#isUnplugged = state.unplugged ?? false;
    this.#registers.device_status = state.device_status;
    this.#registers.queue_select = state.queue_select;
    this.#function.restore(state);
    this.#queues.forEach((queue, index) => {
      const saved = state.queues[index];
      if (saved) queue.restore(saved, this.ringFeatures);
      else queue.reset();
    });
    this.#device.negotiated(state.device_status & VIRTIO_CONFIG_S_DRIVER_OK ? state.driver_features : 0n);
    this.#config.restore(state.config_generation);
    this.#interrupt.restore(state.isr, state.intx_disabled);
    // What was available may have been waiting for a later turn, which is this machine's now.
    this.#runner.lookSoon();
  }
}
