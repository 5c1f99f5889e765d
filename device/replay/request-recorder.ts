import type { VirtioFsDevice } from '../attach.ts';
import { FUSE_INIT } from '../fuse/constants.ts';
import { type ChainBuffer, readBuffers, type TransportEvent } from '../virtio/trace.ts';
import { queueName } from '../virtio-fs.ts';
import { encodeEvent, hasRoom, MAX_MESSAGE, type RecordedEvent, recordingEnd, recordingStart } from './recording.ts';
import { opcodeOf } from './views.ts';

/** Bytes of a recording. */
const MAX_BYTES = 2 ** 30;

/** Of a {@link RequestRecorder}. */
export interface RequestRecorderOptions {
  /** Bytes that are recorded at most. Default: 1 GiB. */
  maxBytes?: number;
}

/**
 * Records what one session is asked and answers, from its INIT on, for `replayRequests`: begin before the guest mounts. It costs a copy of all that
 * passes while it runs. A guest that has mounted already is recorded from when it mounts again.
 */
export class RequestRecorder {
  readonly #device: Pick<VirtioFsDevice, 'transport'>;
  readonly #write: (bytes: Uint8Array) => void;
  readonly #maxBytes: number;
  readonly #stop: () => void;
  /** By queue and id: those that have no reply yet. */
  readonly #unanswered = new Map<string, { number: number; room: ChainBuffer[] }>();
  #count = 0;
  /** Of all, those that nothing will answer any more included. */
  #waiting = 0;
  #bytes = 0;
  #isFull = false;
  #isOver = false;

  /** `write` is called at once with what comes next, which becomes its own; in all that is a recording. It must not throw. */
  constructor(
    device: Pick<VirtioFsDevice, 'transport'>,
    write: (bytes: Uint8Array) => void,
    { maxBytes = MAX_BYTES }: RequestRecorderOptions = {},
  ) {
    this.#device = device;
    this.#write = write;
    this.#maxBytes = maxBytes;
    this.#put(recordingStart());
    this.#stop = device.transport.onTrace((event) => this.#onTransport(event));
  }

  /** Requests so far. */
  get count(): number {
    return this.#count;
  }

  /** Whether something had no room: the recording has no end then, and who reads it is told that it was cut off. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Ends the recording. */
  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop();
    if (!this.#isFull) this.#write(recordingEnd(this.#count));
  }

  #put(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    this.#write(bytes);
  }

  #record(event: RecordedEvent): void {
    const bytes = encodeEvent(event);
    if (this.#bytes + bytes.length > this.#maxBytes) this.#isFull = true;
    if (!this.#isFull) this.#put(bytes);
  }

  #onTransport(event: TransportEvent): void {
    if (this.#isFull) return;
    if (event.type === 'chain') this.#onChain(event);
    else if (event.type === 'used') this.#onUsed(event);
    else if (event.type === 'reset') this.#forget(event.queue);
  }

  #onChain({ queue, id, buffers }: Extract<TransportEvent, { type: 'chain' }>): void {
    if (queueName(queue, this.#device.transport.features.accepted) === 'notification') return;
    const message = this.#read(
      buffers.filter(({ writable }) => !writable),
      MAX_MESSAGE,
    );
    if (this.#count === 0 && opcodeOf(message) !== FUSE_INIT) return;
    if (!hasRoom(this.#count, this.#waiting)) {
      this.#isFull = true;
      return;
    }
    const number = ++this.#count;
    const room = buffers.filter(({ writable }) => writable);
    const capacity = room.reduce((sum, { length }) => sum + length, 0);
    if (capacity > 0) {
      this.#waiting++;
      this.#unanswered.set(`${queue}/${id}`, { number, room });
    }
    this.#record({ kind: 'request', number, capacity, message });
  }

  #onUsed({ queue, id, written }: Extract<TransportEvent, { type: 'used' }>): void {
    const request = this.#unanswered.get(`${queue}/${id}`);
    if (!request) return;
    this.#waiting--;
    this.#unanswered.delete(`${queue}/${id}`);
    this.#record({ kind: 'reply', number: request.number, message: this.#read(request.room, written) });
  }

  /** Nothing answers what was in the queue, or in any. */
  #forget(queue: number | undefined): void {
    for (const key of this.#unanswered.keys())
      if (queue === undefined || key.startsWith(`${queue}/`)) this.#unanswered.delete(key);
  }

  #read(buffers: ChainBuffer[], limit: number): Uint8Array {
    return readBuffers(this.#device.transport.queues[0]!.memory, buffers, Math.min(limit, MAX_MESSAGE));
  }
}
