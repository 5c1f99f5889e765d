import type { ProxyMarked } from 'comlink';
import type { DeviceView, Latency, MessageField, QueueView, WalkStep } from '../../device/index.ts';

export type { DescriptorView, DeviceView, Latency, MessageField, QueueView, WalkStep } from '../../device/index.ts';

/** Which rows of the log the page shows. */
export interface RequestQuery {
  /** Nothing is answered while the log is still this one. -1 for any. */
  version: number;
  /** See `RequestFilter`. */
  filter: string;
  /** The newest ones; otherwise those from an index on, while the log stays as it was when the first such query came. */
  isLive: boolean;
  from: number;
  count: number;
}

export interface RequestPage {
  version: number;
  /** Requests that were written down so far. */
  seen: number;
  /** How many of them are kept at most, how many are, and how many of those match. */
  limit: number;
  total: number;
  matching: number;
  /** Those that there were since the log was cleared. */
  opcodes: string[];
  /** The index of the first row among those that match. */
  from: number;
  rows: RequestRow[];
}

/** A request in the log: {@link InspectorApi.request} has the rest. */
export interface RequestRow {
  number: number;
  /** Milliseconds since 1970. */
  time: number;
  queue: number;
  opcode: string;
  nodeid: number;
  pid: number;
  /** What it is about, in a few words. */
  about: string;
  /** '' or the errno's name. */
  error: string;
  /** Bytes of its reply; undefined while it waits. */
  written: number | undefined;
  /** Milliseconds in the device. */
  duration: number;
}

export interface RequestDetail extends RequestRow {
  unique: string;
  id: number;
  isPacked: boolean;
  interrupt: 'raised' | 'suppressed' | undefined;
  /** Addresses are guest-physical. */
  buffers: { address: number; length: number; writable: boolean }[];
  /** The first bytes of it, and of its reply. */
  request: Uint8Array;
  requestFields: MessageField[];
  reply: Uint8Array;
  replyFields: MessageField[];
}

/** What a session holds. Of inodes, the first {@link MAX_NODES}. */
export interface SessionView {
  /** FUSE_INIT's result; undefined while nothing is mounted. */
  negotiated: { major: number; minor: number; max_write: number; flags: string[] } | undefined;
  nodes: { ino: number; generation: number; nlookup: number; path: string }[];
  nodeCount: number;
  /** `flags`: O_* of the guest. */
  files: { fh: number; ino: number; path: string; flags: number }[];
  /** `position`: the `off` of the entry read last. */
  directories: { fh: number; ino: number; path: string; position: number }[];
  /** Of all guests with the folder. `end` is undefined for the end of the file. */
  locks: LockView[];
  waiters: LockView[];
}

export const MAX_NODES = 300;

export interface LockView {
  guest: string;
  space: 'posix' | 'flock';
  type: 'read' | 'write';
  ino: number;
  path: string;
  pid: number;
  start: number;
  end: number | undefined;
}

/** A request that is walked through the device. */
export interface Walk {
  queue: number;
  opcode: string;
  /** First those until it is served; once it is, those after as well. */
  steps: WalkStep[];
  isServed: boolean;
}

export interface Complaint {
  /** What the driver has done wrong, while the device needs a reset for it: '' otherwise. */
  complaint: string;
}

export interface InspectorApi extends ProxyMarked {
  device(): DeviceView & Complaint;
  queue(index: number): QueueView;
  session(): SessionView;
  /** Whether requests are written down for somebody, which costs some microseconds each. They are while the device is held, in any case. */
  record(isOn: boolean, by: 'inspector' | 'lesson'): void;
  clear(): void;
  /** How many requests are kept from now on. */
  keep(limit: number): void;
  /** Some rows of the log, oldest first; undefined when it is still `version`. */
  requests(query: RequestQuery): RequestPage | undefined;
  /** The request that is `by` of those that match away from one, or from the end; with its index. */
  seek(filter: string, number: number | undefined, by: number): { number: number; index: number } | undefined;
  /** All rows after one, and the number of the newest. */
  requestsAfter(number: number): { last: number; rows: RequestRow[] };
  /** Undefined when it has been forgotten. */
  request(number: number): RequestDetail | undefined;
  /** By opcode, of all requests that were written down since {@link clear}. */
  latencies(): Map<string, Latency>;
  /** Stops the device before the next request. The guest goes on, and waits for its answers. */
  hold(): void;
  /** The request that is walked through, else the one that the device would serve next; undefined while no request waits. */
  walk(): Walk | undefined;
  /** Lets the device serve it. */
  serve(): Walk | undefined;
  /** Leaves the request that was served, for the next one. */
  next(): Walk | undefined;
  /** Lets the device serve by itself again. A rewind does so too. */
  release(): void;
  /** The log as JSON, or for Chrome's and Perfetto's trace viewers. */
  export(format: 'json' | 'perfetto'): Blob;
}
