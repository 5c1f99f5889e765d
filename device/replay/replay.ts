import { BytesSink, BytesSource, viewOf } from '../bytes.ts';
import { ENOENT } from '../fs/errno.ts';
import type { FileSystem } from '../fs/filesystem.ts';
import * as C from '../fuse/constants.ts';
import {
  fuse_create_out,
  fuse_entry_out,
  fuse_getxattr_in,
  fuse_in_header,
  fuse_open_out,
  fuse_read_in,
  fuse_release_in,
} from '../fuse/layouts.ts';
import { OPERATIONS } from '../fuse/opcodes.ts';
import type { Operation } from '../fuse/operation.ts';
import { DEFERRED, type FuseRequest } from '../fuse/request.ts';
import { FuseSession, type FuseSessionOptions } from '../fuse/session.ts';
import { compareReplies, type Disagreement, differ } from './compare.ts';
import { type RecordedEvent, RecordingError } from './recording.ts';
import { isList, ReplayedDirectories } from './replayed-directories.ts';
import { Translation } from './translation.ts';
import { namesOf, opcodeOf, outcomeOf, readReply } from './views.ts';

/** Milliseconds. */
const PATIENCE = 10_000;
/** Bytes of room for replies that were not recorded yet. */
const MAX_ROOM = 256 << 20;

/** Of {@link replayRequests}. */
export interface ReplayOptions extends Omit<FuseSessionOptions, 'filesystem' | 'deliver'> {
  /** Milliseconds that an answer may take after the recorded one came. Default: 10,000. */
  patience?: number;
  /** Called with each difference as it is found. */
  onDifference?: (difference: ReplayDifference) => void;
}

/** A request that was answered otherwise. */
export interface ReplayDifference extends Disagreement {
  /** Of the request, from 1. */
  number: number;
  /** Without FUSE_. */
  opcode: string;
  /** Of what it is about, from the root of the share: a name that it had. */
  path: string;
}

/** What came of {@link replayRequests}. */
export interface ReplayReport {
  /** Requests that were asked again. */
  requests: number;
  /** Those that could not be: they are about what an earlier one has not got. */
  skipped: number;
  differences: number;
}

/** A request that was asked again. */
interface Asked {
  capacity: number;
  opcode: number;
  operation: Operation | undefined;
  message: Uint8Array;
  nodeid: bigint;
  /** Undefined: it could not be asked. */
  answer: Promise<Uint8Array | undefined> | undefined;
}

/**
 * Asks a filesystem, in a session of its own, what `events` have been asked, each as soon as what was answered before it is, and compares the answers. Node
 * ids, file handles and positions in directories are those of the new session. What may differ is not told: times, inode numbers, sizes and link
 * counts of directories, their order, free space, and what INIT and OPEN settle.
 *
 * The filesystem is changed as the recorded one was, so it should begin with the same files. Messages are anybody's bytes: the session judges them.
 *
 * @throws what `events` throws, and FsError for options that no session takes.
 */
export async function replayRequests(
  events: AsyncIterable<RecordedEvent> | Iterable<RecordedEvent>,
  filesystem: FileSystem,
  options: ReplayOptions = {},
): Promise<ReplayReport> {
  const replay = new Replay(filesystem, options);
  try {
    for await (const event of events)
      await (event.kind === 'request' ? replay.ask(event) : replay.compare(event.number, event.message));
    return replay.report;
  } finally {
    replay.end();
  }
}

class Replay {
  readonly report: ReplayReport = { requests: 0, skipped: 0, differences: 0 };
  readonly #session: FuseSession;
  readonly #patience: number;
  readonly #onDifference: (difference: ReplayDifference) => void;
  readonly #translation = new Translation();
  readonly #directories: ReplayedDirectories;
  readonly #asked = new Map<number, Asked>();
  /** Bytes that those may have in memory. */
  #room = 0;

  constructor(filesystem: FileSystem, { patience = PATIENCE, onDifference = () => {}, ...options }: ReplayOptions) {
    this.#session = new FuseSession({ ...options, filesystem });
    this.#patience = patience;
    this.#onDifference = onDifference;
    this.#directories = new ReplayedDirectories(this.#translation, (message, capacity) =>
      this.#withPatience(this.#send(message, capacity)),
    );
  }

  end(): void {
    this.#session.close();
  }

  async ask({ number, capacity, message }: Extract<RecordedEvent, { kind: 'request' }>): Promise<void> {
    const opcode = opcodeOf(message) ?? 0;
    const operation = OPERATIONS.get(opcode);
    const nodeid =
      message.length < fuse_in_header.size ? 0n : viewOf(message).getBigUint64(fuse_in_header.offsets.nodeid, true);
    if (opcode === C.FUSE_INIT || opcode === C.FUSE_DESTROY) {
      this.#translation.reset();
      this.#directories.reset();
      // What was lost in a reset is never answered.
      if (opcode === C.FUSE_INIT) this.#forgetAll();
    }
    if (opcode === C.FUSE_RELEASEDIR)
      await this.#directories.close(this.#handleOf(message, fuse_release_in.offsets.fh));
    const asked: Asked = { capacity, opcode, operation, message, nodeid, answer: undefined };
    this.#room += capacity;
    if (this.#room > MAX_ROOM)
      throw new RecordingError(
        `the recording has requests for ${MAX_ROOM} bytes without a reply, which no driver makes`,
      );
    // What is in a directory is asked for as a whole, when it is compared.
    if (!isList(opcode)) {
      const translated = this.#translation.request(message, operation);
      if (translated) {
        this.report.requests++;
        const answer = this.#send(translated, capacity);
        if (capacity > 0) asked.answer = answer;
      } else this.report.skipped++;
    }
    if (capacity > 0) this.#asked.set(number, asked);
  }

  #forgetAll(): void {
    this.#asked.clear();
    this.#room = 0;
  }

  #handleOf(message: Uint8Array, offset: number): bigint {
    const at = fuse_in_header.size + offset;
    return message.length < at + 8 ? 0n : viewOf(message).getBigUint64(at, true);
  }

  /** The answer; undefined for a request that has none. */
  #send(message: Uint8Array, capacity: number): Promise<Uint8Array | undefined> {
    const reply = new Uint8Array(capacity);
    return new Promise((resolve) => {
      const request: FuseRequest = {
        source: new BytesSource(message),
        sink: new BytesSink(reply),
        isAwaited: true,
        complete: (written) => resolve(reply.subarray(0, written)),
      };
      const length = this.#session.handle(request);
      if (length !== DEFERRED) resolve(reply.subarray(0, length));
    });
  }

  async #withPatience(answer: Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), this.#patience)));
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async compare(number: number, recorded: Uint8Array): Promise<void> {
    const asked = this.#asked.get(number);
    if (!asked) return;
    this.#asked.delete(number);
    this.#room -= asked.capacity;
    const { opcode, operation, nodeid, message } = asked;
    const told = readReply(recorded);
    const tell = (disagreements: Disagreement[], path = this.#pathOf(asked)) => {
      for (const disagreement of disagreements) {
        this.report.differences++;
        this.#onDifference({ number, opcode: operation?.name ?? `opcode ${opcode}`, path, ...disagreement });
      }
    };
    if (isList(opcode)) {
      const { handles, nodes } = this.#translation;
      const fh = this.#handleOf(message, fuse_read_in.offsets.fh);
      if (nodes.get(nodeid) === undefined || (fh !== 0n && handles.get(fh) === undefined)) {
        this.report.skipped++;
        return;
      }
      this.report.requests++;
      for (const { name, ...disagreement } of await this.#directories.compare(message, told))
        tell([disagreement], name === undefined ? undefined : `${this.#translation.path(nodeid)}/${name}`);
      return;
    }
    if (!asked.answer) {
      this.#learn(asked, told, undefined);
      return;
    }
    const answer = await this.#withPatience(asked.answer);
    const answered = answer && readReply(answer);
    this.#learn(asked, told, answered);
    if (!told) return;
    if (!answered) return tell([{ what: 'answer', recorded: outcomeOf(told.errno), replayed: 'none' }]);
    const [was, is] = [told, answered].map((each) => outcomeOf(errnoOf(opcode, each))) as [string, string];
    if (was !== is) return tell(differ('answer', was, is));
    if (was !== 'ok') return;
    tell(compareReplies(opcode, wantedSize(message), told.payload, answered.payload));
  }

  #pathOf({ opcode, operation, message, nodeid }: Asked): string {
    const path = this.#translation.path(nodeid);
    const isAboutName = opcode !== C.FUSE_GETXATTR && opcode !== C.FUSE_SETXATTR && opcode !== C.FUSE_REMOVEXATTR;
    const [name] = isAboutName ? namesOf(message, operation?.input?.size ?? 0, operation?.strings.length ? 1 : 0) : [];
    return (name === undefined ? path : `${path}/${name}`) || '/';
  }

  /** Which node and handle of the replay are those of the recording. */
  #learn(asked: Asked, told: Reply | undefined, answered: Reply | undefined): void {
    const { opcode, message, nodeid, operation } = asked;
    const { nodes, handles } = this.#translation;
    const learn = (numbers: Map<bigint, bigint | undefined>, at: number, size: number): bigint => {
      const recorded = numberAt(told, at, size);
      if (recorded === undefined || recorded === 0n) return 0n;
      const replayed = numberAt(answered, at, size);
      numbers.set(recorded, replayed === 0n ? undefined : replayed);
      return recorded;
    };
    const name = (recorded: bigint) => {
      const [last] = namesOf(message, operation?.input?.size ?? 0, operation?.strings.length ? 1 : 0);
      if (recorded !== 0n && last !== undefined && last !== '.' && last !== '..')
        this.#translation.name(recorded, nodeid, last);
    };
    switch (opcode) {
      case C.FUSE_LOOKUP:
      case C.FUSE_MKNOD:
      case C.FUSE_MKDIR:
      case C.FUSE_SYMLINK:
      case C.FUSE_LINK:
        return name(learn(nodes, fuse_entry_out.offsets.nodeid, fuse_entry_out.size));
      case C.FUSE_CREATE:
      case C.FUSE_TMPFILE:
        learn(handles, fuse_create_out.offsets.open + fuse_open_out.offsets.fh, fuse_create_out.size);
        return name(learn(nodes, fuse_entry_out.offsets.nodeid, fuse_create_out.size));
      case C.FUSE_OPEN:
      case C.FUSE_OPENDIR:
        learn(handles, fuse_open_out.offsets.fh, fuse_open_out.size);
        return;
      case C.FUSE_RELEASE:
      case C.FUSE_RELEASEDIR:
        if (told?.errno === 0) handles.delete(this.#handleOf(message, fuse_release_in.offsets.fh));
    }
  }
}

/** What a GETXATTR or LISTXATTR has room for: 0 asks for the length. */
function wantedSize(message: Uint8Array): number {
  const at = fuse_in_header.size + fuse_getxattr_in.offsets.size;
  return message.length < at + 4 ? 0 : viewOf(message).getUint32(at, true);
}

type Reply = NonNullable<ReturnType<typeof readReply>>;

/** A 64-bit number of a reply that has no errno, and is as long as its struct. */
function numberAt(reply: Reply | undefined, at: number, size: number): bigint | undefined {
  if (reply?.errno !== 0 || reply.payload.length < size) return undefined;
  return viewOf(reply.payload).getBigUint64(at, true);
}

/** A node id of 0 says as ENOENT that there is no such name. */
function errnoOf(opcode: number, reply: Reply): number {
  const isNone = opcode === C.FUSE_LOOKUP && numberAt(reply, fuse_entry_out.offsets.nodeid, fuse_entry_out.size) === 0n;
  return isNone ? ENOENT : reply.errno;
}
