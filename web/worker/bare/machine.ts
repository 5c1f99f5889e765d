import { FuseSession } from '../../../device/fuse/session.ts';
import { type GuestMemory, GuestMemoryError } from '../../../device/guest-memory.ts';
import { MemoryFileSystem, volumeOf } from '../../../device/index.ts';
import { PciTransport } from '../../../device/virtio/pci-transport.ts';
import { VirtioFs } from '../../../device/virtio-fs.ts';

const TAG = 'bare';
const FILE = 'hello.txt';
/** Bytes of RAM. */
const RAM = 1 << 20;
/** Where BAR 0 is in the I/O space, and where configuration space says so: PCI Local Bus 3.0, 6.2.5.1. */
const BAR_ADDRESS = 0xc000;
const PCI_BASE_ADDRESS_0 = 0x10;
const PCI_BASE_ADDRESS_SPACE_IO = 1;
const CONFIG_SIZE = 256;
/** Offsets that are remembered. */
const MAX_READS = 256;

/** RAM and one device, without a processor: what drives it is a program of the page's visitor. */
export class BareMachine {
  readonly tag = TAG;
  readonly slot = 0;
  readonly ram = new Ram(RAM);
  readonly filesystem = new MemoryFileSystem();
  readonly session: FuseSession;
  readonly transport: PciTransport;
  readonly configReads = new Set<number>();
  interrupts = 0;
  isInterrupting = false;
  complaint = '';

  constructor(secret: string) {
    const { filesystem } = this;
    volumeOf(filesystem).writeFileSync(`/${FILE}`, secret);
    this.session = new FuseSession({ filesystem, deliver: (action) => action() });
    const device = new VirtioFs(this.session, { tag: TAG, requestQueues: 1, queueSize: 64, notifications: false });
    this.transport = new PciTransport({
      device,
      memory: this.ram,
      offer: { packed: true },
      // A program does not wait for another turn of the event loop.
      turnBudget: Number.MAX_SAFE_INTEGER,
      setIrq: (level) => {
        if (level && !this.isInterrupting) this.interrupts++;
        this.isInterrupting = level;
      },
    });
    this.transport.onError(({ message }) => (this.complaint ||= message));
  }

  readConfig(offset: number, width: number): number {
    check('configuration space', offset, width, CONFIG_SIZE);
    if (this.configReads.size < MAX_READS) this.configReads.add(offset);
    return offset >= PCI_BASE_ADDRESS_0 && offset < PCI_BASE_ADDRESS_0 + 4
      ? ((BAR_ADDRESS | PCI_BASE_ADDRESS_SPACE_IO) >>> (8 * (offset - PCI_BASE_ADDRESS_0))) % 2 ** (8 * width)
      : this.transport.readConfig(offset, width);
  }

  writeConfig(offset: number, width: number, value: number): void {
    check('configuration space', offset, width, CONFIG_SIZE);
    this.transport.writeConfig(offset, width, value);
  }

  /** Ports without a device read as ones. */
  in(port: number, width: number): number {
    const offset = port - BAR_ADDRESS;
    const { barSize } = this.transport;
    return offset >= 0 && offset + width <= barSize ? this.transport.readBar(offset, width) : 2 ** (8 * width) - 1;
  }

  out(port: number, width: number, value: number): void {
    const offset = port - BAR_ADDRESS;
    if (offset >= 0 && offset + width <= this.transport.barSize) this.transport.writeBar(offset, width, value);
  }
}

function check(what: string, offset: number, width: number, size: number): void {
  if (!(Number.isInteger(offset) && offset >= 0 && offset + width <= size))
    throw new RangeError(`${what} has ${size} bytes, and ${width} at ${offset} are not among them`);
}

/** RAM that is nothing but bytes. */
class Ram implements GuestMemory {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get size(): number {
    return this.#bytes.length;
  }

  read(address: number, dst: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    dst.set(this.#bytes.subarray(address, address + length), offset);
  }

  write(address: number, src: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    this.#bytes.set(src.subarray(offset, offset + length), address);
  }

  readU8(address: number): number {
    this.#check(address, 1);
    return this.#view.getUint8(address);
  }

  readU16(address: number): number {
    this.#check(address, 2);
    return this.#view.getUint16(address, true);
  }

  readU32(address: number): number {
    this.#check(address, 4);
    return this.#view.getUint32(address, true);
  }

  writeU8(address: number, value: number): void {
    this.#check(address, 1);
    this.#view.setUint8(address, value);
  }

  writeU16(address: number, value: number): void {
    this.#check(address, 2);
    this.#view.setUint16(address, value, true);
  }

  writeU32(address: number, value: number): void {
    this.#check(address, 4);
    this.#view.setUint32(address, value, true);
  }

  #check(address: number, length: number): void {
    if (!(Number.isInteger(address) && address >= 0 && length >= 0 && address + length <= this.size))
      throw new GuestMemoryError(address, length, this.size);
  }
}
