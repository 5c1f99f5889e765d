import { Volume } from 'memfs';
import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import type { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import type { OfferedFeatures } from '../../device/virtio/features.ts';
import { VirtioFs } from '../../device/virtio-fs.ts';
import { message } from './fuse-call.ts';
import { type AddOptions, MockDriver } from './mock-driver.ts';

export const FUSE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  RELEASE: 18,
  SETXATTR: 21,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  SETLK: 32,
  SETLKW: 33,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
};
const ROOT = 1;
const F_WRLCK = 1,
  F_UNLCK = 2;

type Body = (number | bigint | string | Uint8Array)[];

/** A mock driver on a virtio-fs device with one request queue, that speaks FUSE. */
export class FuseDriver {
  readonly volume: Volume;
  readonly filesystem: MemoryFileSystem;
  readonly session: FuseSession;
  readonly driver: MockDriver;
  readonly #options: AddOptions;
  /** Of the last request. */
  unique = 0n;

  constructor({
    offer,
    indirect = true,
    files = {},
  }: { offer?: OfferedFeatures; indirect?: boolean; files?: Record<string, string> } = {}) {
    this.volume = Volume.fromJSON(files);
    this.filesystem = filesystemOf(this.volume);
    this.session = new FuseSession({ filesystem: this.filesystem, locks: 'shared' });
    this.driver = new MockDriver(new VirtioFs(this.session, { tag: 'share', requestQueues: 1, queueSize: 16 }), {
      offer,
    }).start();
    this.#options = indirect ? { indirectFrom: 0 } : {};
  }

  get transport() {
    return this.driver.transport;
  }

  init(): this {
    this.call(FUSE.INIT, 0, 7, 38, 0x20000, 0xffffffff, 0, ...Array<number>(11).fill(0));
    return this;
  }

  /** Makes a request available in a queue, and kicks; FORGETs have no room for a reply. Returns its id. */
  send(queue: number, opcode: number, nodeid: number, ...body: Body): number {
    const bytes = message(opcode, (this.unique += 2n), nodeid, ...body);
    const buffers = this.driver.buffers(
      [bytes.subarray(0, 40), bytes.subarray(40)].filter(({ length }) => length),
      queue === 0 ? [] : [16, 200],
    );
    const id = this.driver.queues[queue]!.add(buffers, this.#options);
    this.driver.kick(queue);
    return id;
  }

  /** A request on the request queue and its answer's payload. */
  call(opcode: number, nodeid: number, ...body: Body): DataView {
    return this.attempt(opcode, nodeid, ...body).payload;
  }

  /** As {@link call}, with the answer's error. */
  attempt(opcode: number, nodeid: number, ...body: Body): { error: number; payload: DataView } {
    const queue = this.driver.queues[1]!;
    const bytes = message(opcode, (this.unique += 2n), nodeid, ...body);
    const buffers = this.driver.buffers([bytes], [16, 200]);
    const id = queue.add(buffers, this.#options);
    this.driver.kick(1);
    const used = queue.collect().find((entry) => entry.id === id);
    if (!used) throw new Error(`opcode ${opcode} was not answered`);
    const reply = this.driver.written(buffers).subarray(0, used.length);
    const error = new DataView(reply.buffer, reply.byteOffset).getInt32(4, true);
    return { error, payload: new DataView(reply.buffer, reply.byteOffset + 16, Math.max(0, reply.length - 16)) };
  }

  /** Makes a file; returns its nodeid and fh. */
  create(name: string): { nodeid: number; fh: bigint } {
    const created = this.call(FUSE.CREATE, ROOT, 2, 0o100644, 0, 0, name);
    return { nodeid: Number(created.getBigUint64(0, true)), fh: created.getBigUint64(128, true) };
  }

  /** The body of SETLK and SETLKW, for the whole file. */
  static lock(fh: bigint, owner: number, isLock = true): Body {
    return [fh, BigInt(owner), 0n, 0x7fffffffffffffffn, isLock ? F_WRLCK : F_UNLCK, 100 + owner, 0, 0];
  }
}
