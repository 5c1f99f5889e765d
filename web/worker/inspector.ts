import { proxyMarker } from 'comlink';
import { F_WRLCK } from '../../device/fs/constants.ts';
import { LOCK_END_MAX, type Lock } from '../../device/fs/locks.ts';
import { locksOf } from '../../device/fs/shared.ts';
import { INIT_FLAGS } from '../../device/fuse/negotiation.ts';
import {
  type DeviceView,
  type FileSystem,
  type Latency,
  type QueueView,
  Recorder,
  replyFields,
  requestFields,
  toJson,
  toTraceEvents,
  type VirtioFsDevice,
  viewDevice,
  viewQueue,
  walkIn,
  walkOut,
} from '../../device/index.ts';
import {
  type Complaint,
  type InspectorApi,
  type LockView,
  MAX_NODES,
  type RequestDetail,
  type RequestPage,
  type RequestQuery,
  type RequestRow,
  type SessionView,
  type Walk,
} from '../protocol/inspector.ts';
import type { FolderUser } from './folder.ts';
import { pathOf } from './paths.ts';
import { RequestLog } from './request-log.ts';

/** The parts of a device that are looked into. */
type InspectedDevice = Pick<VirtioFsDevice<FileSystem>, 'tag' | 'slot' | 'filesystem' | 'session' | 'transport'>;

/** What is in one guest's device. */
export class Inspector implements InspectorApi {
  readonly [proxyMarker] = true;
  readonly #device: InspectedDevice;
  readonly #users: () => Iterable<FolderUser>;
  readonly #recorder: Recorder;
  readonly #log: RequestLog;
  readonly #wantedBy = new Set<string>();
  #walk: Walk | undefined;
  /** Why the device needed a reset last. */
  #complaint = '';

  /** `users`: all guests, whichever folder they have. */
  constructor(device: InspectedDevice, users: () => Iterable<FolderUser>) {
    this.#device = device;
    this.#users = users;
    this.#recorder = new Recorder(device);
    device.transport.onError(({ message }) => (this.#complaint = message));
    this.#log = new RequestLog(this.#recorder, device.filesystem);
  }

  /** See {@link hold}. */
  get isHeld(): boolean {
    return this.#device.transport.isHeld;
  }

  device(): DeviceView & Complaint {
    const view = viewDevice(this.#device);
    const isBroken = view.status.some(({ name, isSet }) => name === 'DEVICE_NEEDS_RESET' && isSet);
    return { ...view, complaint: isBroken ? this.#complaint : '' };
  }

  queue(index: number): QueueView {
    return viewQueue(this.#device.transport, index);
  }

  session(): SessionView {
    const { filesystem, session } = this.#device;
    const locks = locksOf(filesystem);
    const {
      negotiated,
      nodes,
      handles: { handles },
    } = session.state();
    const nameOf = (ino: number) => pathOf(filesystem, ino) ?? '(no name)';
    const guests = new Map([...this.#users()].map(({ name, device }) => [device.session.id, name]));
    const lockOf = ({ session: owner, space, type, ino, pid, start, end }: Readonly<Lock>): LockView => ({
      guest: guests.get(owner) ?? 'another',
      space,
      type: type === F_WRLCK ? 'write' : 'read',
      ino,
      path: nameOf(ino),
      pid,
      start: Number(start),
      end: end === LOCK_END_MAX ? undefined : Number(end),
    });
    return {
      negotiated: negotiated && {
        major: negotiated.major,
        minor: negotiated.minor,
        max_write: negotiated.max_write,
        flags: INIT_FLAGS.filter(({ bit }) => (negotiated.flags & bit) !== 0n).map(({ name }) => name),
      },
      nodes: Array.from(nodes.ino.subarray(0, MAX_NODES), (ino, n) => ({
        ino,
        generation: nodes.generation[n]!,
        nlookup: nodes.nlookup[n]!,
        path: nameOf(ino),
      })),
      nodeCount: nodes.ino.length,
      files: handles
        .filter(({ kind }) => kind === 'file')
        .map(({ fh, ino, flags }) => ({ fh, ino, path: nameOf(ino), flags })),
      directories: handles
        .filter(({ kind }) => kind === 'directory')
        .map(({ fh, ino, position }) => ({ fh, ino, path: nameOf(ino), position })),
      locks: [...locks.locks()].map(lockOf),
      waiters: [...locks.waiters()].map(({ lock }) => lockOf(lock)),
    };
  }

  record(isOn: boolean, by: 'inspector' | 'lesson'): void {
    if (isOn) this.#wantedBy.add(by);
    else this.#wantedBy.delete(by);
    this.#recorder.isOn = this.#wantedBy.size > 0 || this.isHeld;
  }

  clear(): void {
    this.#recorder.clear();
  }

  keep(limit: number): void {
    this.#recorder.limit = limit;
  }

  requests(query: RequestQuery): RequestPage | undefined {
    return this.#log.page(query);
  }

  seek(filter: string, number: number | undefined, by: number): { number: number; index: number } | undefined {
    return this.#log.seek(filter, number, by);
  }

  requestsAfter(number: number): { last: number; rows: RequestRow[] } {
    const { records } = this.#recorder;
    const rows = records.filter((record) => record.number > number);
    return { last: records.at(-1)?.number ?? 0, rows: rows.map((record) => this.#log.row(record)) };
  }

  request(number: number): RequestDetail | undefined {
    const record = this.#log.find(number);
    if (!record) return undefined;
    const { unique, id, interrupt, buffers, request, reply } = record;
    const { session, transport } = this.#device;
    return {
      ...this.#log.row(record),
      unique: String(unique),
      id,
      isPacked: transport.ringFeatures.isPacked,
      interrupt,
      buffers,
      request,
      requestFields: requestFields(request, session.negotiated?.flags),
      reply,
      replyFields: replyFields(reply, request),
    };
  }

  latencies(): Map<string, Latency> {
    return new Map(this.#recorder.latencies);
  }

  hold(): void {
    this.#recorder.isOn = true;
    this.#device.transport.hold();
  }

  walk(): Walk | undefined {
    if (this.#walk?.isServed) return this.#walk;
    const start = this.isHeld ? walkIn(this.#device) : undefined;
    return (this.#walk = start && { ...start, isServed: false });
  }

  serve(): Walk | undefined {
    const walk = this.walk();
    if (!walk || walk.isServed) return walk;
    const before = this.#recorder.records.at(-1)?.number ?? 0;
    // A reset may have taken it away.
    if (!this.#device.transport.step() && this.#device.transport.isLive) return this.next();
    const record = this.#recorder.records.findLast(({ number }) => number > before);
    return (this.#walk = { ...walk, steps: [...walk.steps, ...walkOut(this.#device, record)], isServed: true });
  }

  next(): Walk | undefined {
    this.#walk = undefined;
    return this.walk();
  }

  release(): void {
    this.#walk = undefined;
    this.#device.transport.release();
    this.#recorder.isOn = this.#wantedBy.size > 0;
  }

  export(format: 'json' | 'perfetto'): Blob {
    const { records } = this.#recorder;
    return new Blob([format === 'json' ? toJson(records) : toTraceEvents(records)], { type: 'application/json' });
  }
}
