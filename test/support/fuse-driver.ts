import { Volume } from 'memfs';
import { answerOf, type Body, INIT, message, type OperationName, type Out } from '../../device/conformance/message.ts';
import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import type { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import { F_UNLCK, F_WRLCK } from '../../device/fs/constants.ts';
import { LOCK_END_MAX } from '../../device/fs/lock.ts';
import { FuseSession, type FuseSessionOptions } from '../../device/fuse/session.ts';
import type { OfferedFeatures } from '../../device/virtio/features.ts';
import { VirtioFs } from '../../device/virtio-fs.ts';
import type { AddOptions } from './driver-queue.ts';
import { MockDriver } from './mock-driver.ts';

const ROOT = 1;
const O_RDWR = 2;

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
    cache,
  }: {
    offer?: OfferedFeatures;
    indirect?: boolean;
    files?: Record<string, string>;
    cache?: FuseSessionOptions['cache'];
  } = {}) {
    this.volume = Volume.fromJSON(files);
    this.filesystem = filesystemOf(this.volume);
    this.session = new FuseSession({ filesystem: this.filesystem, locks: 'shared', cache });
    this.driver = new MockDriver(new VirtioFs(this.session, { tag: 'share', requestQueues: 1, queueSize: 16 }), {
      offer,
    }).start();
    this.#options = indirect ? { indirectFrom: 0 } : {};
  }

  get transport() {
    return this.driver.transport;
  }

  init(): this {
    this.call('INIT', 0, INIT);
    return this;
  }

  /** Makes a request available in a queue, and kicks; FORGETs have no room for a reply. Returns its id. */
  send<O extends OperationName | number>(queue: number, operation: O, nodeid: number, ...body: Body<O>): number {
    const bytes = message(operation, { unique: (this.unique += 2n), nodeid }, ...body);
    const buffers = this.driver.buffers(
      [bytes.subarray(0, 40), bytes.subarray(40)].filter(({ length }) => length),
      queue === 0 ? [] : [16, 200],
    );
    const id = this.driver.queues[queue]!.add(buffers, this.#options);
    this.driver.kick(queue);
    return id;
  }

  /** A request on the request queue, and the struct that answers it. */
  call<O extends OperationName | number>(operation: O, nodeid: number, ...body: Body<O>): Out<O> {
    return this.attempt(operation, nodeid, ...body).out;
  }

  /** As {@link call}, with the answer's error. */
  attempt<O extends OperationName | number>(
    operation: O,
    nodeid: number,
    ...body: Body<O>
  ): { error: number; out: Out<O> } {
    const queue = this.driver.queues[1]!;
    const bytes = message(operation, { unique: (this.unique += 2n), nodeid }, ...body);
    const buffers = this.driver.buffers([bytes], [16, 200]);
    const id = queue.add(buffers, this.#options);
    this.driver.kick(1);
    const used = queue.collect().find((entry) => entry.id === id);
    if (!used) throw new Error(`${operation} was not answered`);
    const reply = this.driver.written(buffers).subarray(0, used.length);
    const error = new DataView(reply.buffer, reply.byteOffset).getInt32(4, true);
    const payload = new DataView(reply.buffer, reply.byteOffset + 16, Math.max(0, reply.length - 16));
    return { error, out: answerOf(operation, payload) };
  }

  /** Makes a file; returns its nodeid and fh. */
  create(name: string): { nodeid: number; fh: number } {
    const { entry, open } = this.call('CREATE', ROOT, { flags: O_RDWR, mode: 0o100644 }, name);
    return { nodeid: entry.nodeid, fh: open.fh };
  }

  /** The fields of SETLK and SETLKW, for the whole file. */
  static lock(fh: number, owner: number, isLock = true) {
    const type = isLock ? F_WRLCK : F_UNLCK;
    return { fh, owner, lk: { start: 0, end: LOCK_END_MAX, type, pid: 100 + owner } };
  }
}
