import { FlatMemory } from '../../../device/flat-memory.ts';
import { S_IFREG } from '../../../device/fs/constants.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { MemoryFileSystem } from '../../../device/index.ts';
import { TreeWriter } from '../../../device/trees/tree-writer.ts';
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
  readonly ram = new FlatMemory(RAM);
  readonly filesystem = new MemoryFileSystem();
  readonly session: FuseSession;
  readonly transport: PciTransport;
  readonly configReads = new Set<number>();
  interrupts = 0;
  isInterrupting = false;
  complaint = '';

  constructor(secret: string) {
    const { filesystem } = this;
    const writer = new TreeWriter(filesystem, filesystem.root);
    const attributes = { mode: S_IFREG | 0o644, uid: 0, gid: 0 };
    writer.file(writer.place(FILE), attributes, new TextEncoder().encode(secret));
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
    throw new RangeError(`${what} has ${size} bytes: there are no ${width} bytes at ${offset}`);
}
