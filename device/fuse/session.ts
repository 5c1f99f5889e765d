import type { ByteSink } from '../bytes.ts';
import { EIO, ENOSYS, EPROTO, EROFS, FsError } from '../fs/errno.ts';
import type { FileSystem } from '../fs/filesystem.ts';
import { NotYet } from '../fs/not-yet.ts';
import { locksOf } from '../fs/shared.ts';
import { Listeners } from '../listeners.ts';
import { randomUuid } from '../random-uuid.ts';
import { Call } from './call.ts';
import { IN_HEADER_SIZE, MessageReader, OUT_HEADER_SIZE, REPLY_MAX, ReplyWriter } from './codec.ts';
import { FUSE_HAS_EXPIRE_ONLY, FUSE_INIT } from './constants.ts';
import { type FaultOptions, Faults } from './faults.ts';
import { HandleTable } from './handle-table.ts';
import { maxMessage, type Negotiated } from './negotiation.ts';
import { NodeTable } from './node-table.ts';
import { Notices } from './notices.ts';
import { OPERATIONS } from './opcodes.ts';
import type { Operation } from './operation.ts';
import { Policy, type PolicyOptions } from './policy.ts';
import { DEFERRED, type FuseRequest } from './request.ts';
import { SessionLocks } from './session-locks.ts';
import { SessionParts } from './session-parts.ts';
import { type CheckedSessionState, checkSessionState, type InodeIndex, type SessionState } from './session-state.ts';
import { type Deliver, WaitingCalls } from './waiting-calls.ts';

export type { Negotiated } from './negotiation.ts';
export type { CheckedSessionState, InodeIndex } from './session-state.ts';

export interface FuseSessionOptions extends PolicyOptions {
  filesystem: FileSystem;
  /** Open files and directories at once; ENFILE beyond. Default: 65,536. */
  maxHandles?: number;
  /** Lets requests go wrong on purpose. Default: none does. */
  faults?: FaultOptions;
  /** Calls when an answer that has come later may be given, which writes into the request's room. Default: at once. */
  deliver?: Deliver;
}

export interface TraceEvent {
  unique: bigint;
  opcode: string;
  nodeid: number;
  uid: number;
  gid: number;
  pid: number;
  /** The decoded arguments, by the header's names; names in the order of the message. */
  args: Record<string, unknown>;
  /** 0 or the errno that was answered. */
  error: number;
  /** Bytes of reply, header included. */
  length: number;
  /** Milliseconds. */
  duration: number;
}

const MAX_HANDLES = 65536;

/** The views of an operation's structs over a session's buffers. */
interface Views {
  input: object | undefined;
  output: object | undefined;
}

const atOnce: Deliver = (action) => action();

/** One FUSE session: what one mounted guest and the filesystem know of each other. */
export class FuseSession {
  readonly filesystem: FileSystem;
  /** Rules by which requests go wrong; undefined without the option of that name, where the driver may rely on answers that come in order. */
  readonly faults: Faults | undefined;
  readonly #parts: SessionParts;
  readonly #deliver: Deliver;
  readonly #message = new MessageReader();
  readonly #replies = new ReplyWriter(REPLY_MAX);
  /** The next request is served with it. */
  #call: Call;
  readonly #views = new Map<Operation, Views>();
  readonly #traces = new Listeners<TraceEvent>();
  readonly #errors = new Listeners<unknown>();

  /** @throws RangeError for options that contradict each other or the protocol. */
  constructor({ filesystem, maxHandles = MAX_HANDLES, deliver = atOnce, faults, ...policy }: FuseSessionOptions) {
    this.filesystem = filesystem;
    this.faults = faults && new Faults(faults);
    this.#deliver = deliver;
    const nodes = new NodeTable(filesystem);
    this.#parts = new SessionParts({
      filesystem,
      nodes,
      notices: new Notices(filesystem, nodes),
      handles: new HandleTable(filesystem, maxHandles),
      locks: new SessionLocks(locksOf(filesystem), randomUuid(), deliver),
      waiting: new WaitingCalls(deliver),
      policy: new Policy(policy),
    });
    this.#call = this.#newCall();
  }

  /** What INIT settled; undefined before it, and after DESTROY. */
  get negotiated(): Negotiated | undefined {
    return this.#parts.negotiated;
  }

  /** Tells it from every other on the same filesystem: it is the holder of its locks. It stays through snapshots. */
  get id(): string {
    return this.#parts.locks.id;
  }

  /** What a driver knows its session again by, in the device's configuration: 1 to 2^32 - 1; 0 before INIT has chosen one. It stays through snapshots. */
  get number(): number {
    return this.#parts.number;
  }

  /** Whether the session outlives a reset of its device: as {@link nextOutlivesReset} was when INIT began it. It stays through snapshots. */
  get outlivesReset(): boolean {
    return this.#parts.outlivesReset;
  }

  /** Whether sessions that begin from now on outlive a reset. Default: false. */
  set nextOutlivesReset(outlives: boolean) {
    this.#parts.nextOutlivesReset = outlives;
  }

  /** Whether a request of the guest is being carried out: what changes in the filesystem meanwhile is its own change. */
  get isServing(): boolean {
    return this.#parts.notices.isMuted;
  }

  /** Whether the filesystem tells of what others change. */
  get canNotify(): boolean {
    return this.#parts.notices.canWatch;
  }

  /**
   * Whether the driver takes notifications: then what the guest remembers is taken back when others change it, if the filesystem tells of that.
   * What has changed before that is not told: a driver that goes on after a reset believes nothing. Default: false.
   */
  get notifies(): boolean {
    return this.#parts.policy.revokes;
  }

  set notifies(notifies: boolean) {
    const { notices, policy, negotiated } = this.#parts;
    policy.revokes = notifies && notices.canWatch;
    if (notices.isOn === notifies) return;
    notices.isOn = notifies;
    // Another driver than before goes on with the session, or it was restored while its guest slept.
    if (negotiated) notices.begin();
  }

  /**
   * Calls `listener` when there are notifications to {@link takeNotification}: after what is being done has been done, and while the machine
   * runs.
   */
  set onNotifications(listener: () => void) {
    let isDue = false;
    this.#parts.notices.onWaiting = () => {
      if (isDue) return;
      isDue = true;
      queueMicrotask(() =>
        this.#deliver(() => {
          isDue = false;
          listener();
        }),
      );
    };
  }

  /** Puts the next notification into `sink`, which has room for `NOTIFICATION_MAX` bytes. Returns its length, 0 when there is none. */
  takeNotification(sink: ByteSink): number {
    return this.#parts.notices.take(sink);
  }

  /** The driver has been reset, and believes nothing of what it remembers: there is nothing to tell it. */
  forgetNotifications(): void {
    this.#parts.notices.forget();
  }

  /** Every request is answered at once, in the order in which they come. */
  get answersInOrder(): boolean {
    const { filesystem, policy } = this.#parts;
    return filesystem.isSynchronous === true && policy.locks !== 'shared' && !this.faults;
  }

  /** Calls `listener` after every request, until the function that this returns is called. */
  onTrace(listener: (event: TraceEvent) => void): () => void {
    return this.#traces.add(listener);
  }

  /** Calls `listener` with what should never happen: the guest got EIO for it. Until the function that this returns is called. */
  onError(listener: (error: unknown) => void): () => void {
    return this.#errors.add(listener);
  }

  #newCall(): Call {
    return new Call(this.#parts, this.#message, this.#replies);
  }

  /** Serves one request. Returns the reply's length in bytes, or DEFERRED. Never throws on guest input. */
  handle(request: FuseRequest): number {
    const call = this.#call;
    const started = this.#traces.tell ? performance.now() : 0;
    call.begin(request);
    let error = 0;
    let length: number;
    try {
      this.#message.begin(request.source, maxMessage(this.#parts.negotiated));
      call.operation = OPERATIONS.get(call.header.opcode);
      length = this.#serve(call, call.operation);
    } catch (thrown) {
      if (thrown instanceof NotYet && request.isAwaited) return this.#park(call, thrown);
      error = this.#errnoOf(thrown);
      length = this.#refuse(call, error);
    }
    if (this.#traces.tell) this.#trace(call, error, length, performance.now() - started);
    return this.faults ? this.faults.spoil(request, length) : length;
  }

  #serve(call: Call, operation: Operation | undefined): number {
    const { policy, negotiated, filesystem } = this.#parts;
    const message = this.#message;
    const { request } = call;
    if (!operation) throw FsError.of(ENOSYS);
    if (!negotiated && operation.opcode !== FUSE_INIT) throw FsError.of(EPROTO);
    if (operation.changes && policy.readOnly) throw FsError.of(EROFS);
    if (!operation.noReply && request.sink.capacity < OUT_HEADER_SIZE + (operation.output?.size ?? 0))
      throw FsError.of(EIO);
    request.isAwaited = !operation.noReply;
    const { input } = this.#viewsOf(operation);
    call.input = input;
    if (operation.input)
      message.takeStruct(operation.inputSize?.(this.#inputContext) ?? operation.input.size, operation.input.size);
    if (operation.strings.length || operation.tail === 'kept') message.takeRest();
    call.strings = operation.strings.map((kind) => message.string(kind));
    this.faults?.meet(call, operation);
    const { notices } = this.#parts;
    let answer: unknown;
    notices.isMuted = true;
    try {
      answer = operation.handle(call, input as never);
    } finally {
      notices.isMuted = false;
    }
    if (!filesystem.isSynchronous && answer instanceof Promise) return this.#wait(call, operation, answer);
    return this.#reply(call, operation, answer);
  }

  readonly #inputContext = {
    uses: (flag: bigint) => this.#parts.uses(flag),
    message: this.#message,
  };

  #reply(call: Call, operation: Operation, answer: unknown): number {
    const { sink } = call.request;
    const { output } = this.#viewsOf(operation);
    const structSize = operation.output?.size ?? 0;
    if (structSize) this.#replies.clear(structSize);
    let result: number;
    try {
      result = operation.reply(call, answer as never, output as never, call.input as never) ?? 0;
    } catch (error) {
      operation.drop?.(call, answer as never, call.input as never);
      throw error;
    }
    if (result === DEFERRED) return DEFERRED;
    if (operation.noReply) return 0;
    return this.#replies.success(sink, call.header.unique, structSize + result, structSize);
  }

  #wait(call: Call, operation: Operation, answer: Promise<unknown>): number {
    this.#call = this.#newCall();
    const refuse = (thrown: unknown) => this.#refuse(call, this.#errnoOf(thrown));
    this.#parts.waiting.add(call, answer, {
      reply: (value) => {
        try {
          return this.#reply(call, operation, value);
        } catch (thrown) {
          return refuse(thrown);
        }
      },
      refuse,
      drop: (value) => operation.drop?.(call, value as never, call.input as never),
      serve: () => this.handle(call.request),
    });
    return operation.noReply ? 0 : DEFERRED;
  }

  #park({ request, header }: Call, { wait }: NotYet): number {
    this.#parts.waiting.park(request, header.unique, wait, () => this.handle(request));
    return DEFERRED;
  }

  #refuse(call: Call, errno: number): number {
    return call.operation?.noReply ? 0 : this.#replies.error(call.request.sink, call.header.unique, errno);
  }

  #viewsOf(operation: Operation): Views {
    let views = this.#views.get(operation);
    if (!views) {
      views = {
        input: operation.input?.at(this.#message.view, IN_HEADER_SIZE),
        output: operation.output?.at(this.#replies.view, OUT_HEADER_SIZE),
      };
      this.#views.set(operation, views);
    }
    return views;
  }

  #errnoOf(thrown: unknown): number {
    if (thrown instanceof FsError) return thrown.code;
    this.#errors.tell?.(thrown);
    return EIO;
  }

  #trace({ header, operation, strings }: Call, error: number, length: number, duration: number): void {
    const { unique, nodeid, uid, gid, pid, opcode } = header;
    const args = operation?.input?.decode(this.#message.view, IN_HEADER_SIZE) ?? {};
    if (operation?.strings.length) args['names'] = [...strings];
    const name = operation?.name ?? `opcode ${opcode}`;
    this.#traces.tell?.({ unique, opcode: name, nodeid, uid, gid, pid, args, error, length, duration });
  }

  /** The driver took a request back that was answered {@link DEFERRED}: it is dead, and forgotten without a reply. */
  abandon(request: FuseRequest): void {
    this.#parts.locks.abandon(request);
    this.#parts.waiting.abandon(request);
  }

  /** Gives up all that the guest holds: lookups, handles, locks. The next request must be INIT. */
  end(): void {
    this.#parts.end();
  }

  /** As {@link end}, and nothing more will come: the machine is gone. */
  close(): void {
    this.#parts.close();
  }

  /** Whether it has not moved to another machine. */
  get isHere(): boolean {
    return this.#parts.locks.isOwner;
  }

  /** What has begun to change the filesystem and is not done, by opcode: it can't be in a snapshot. */
  get changing(): readonly string[] {
    return this.#parts.waiting.changing;
  }

  /** Settles when {@link changing} has nothing. */
  settled(): Promise<void> {
    return this.#parts.waiting.settled();
  }

  /** Plain data, a copy. What waits for the filesystem is not in it: it is asked again, see {@link restore}. */
  state(): SessionState {
    const { negotiated, number, outlivesReset, nodes, handles, locks, notices } = this.#parts;
    const waiting = notices.state();
    return {
      negotiated,
      number,
      outlivesReset,
      nodes: nodes.state(),
      handles: handles.state(),
      session: locks.id,
      waiters: locks.state(),
      ...(waiting && { notices: waiting }),
    };
  }

  /** Decides whether `state` can be restored, and changes nothing. @throws TypeError that says what is wrong. */
  static checkState(state: unknown, filesystem: InodeIndex): CheckedSessionState {
    return checkSessionState(state, filesystem);
  }

  /**
   * Goes on with a checked state, whose filesystem was restored before. `requestOf` finds the requests that wait for a lock; those that
   * waited for the filesystem have to be given to {@link handle} again. `isChanged`: the filesystem has not been restored, so that anything may have
   * changed since.
   */
  restore(state: CheckedSessionState, requestOf: (unique: bigint) => FuseRequest | undefined, isChanged = false): void {
    const parts = this.#parts;
    parts.waiting.end();
    parts.negotiated = state.negotiated;
    parts.number = state.number;
    parts.outlivesReset = state.outlivesReset;
    parts.nodes.restore(state.nodes);
    parts.handles.restore(state.handles);
    parts.locks.restore(state.session, state.waiters, requestOf);
    parts.notices.expires = parts.uses(FUSE_HAS_EXPIRE_ONLY);
    if (state.negotiated) parts.notices.restore(state.notices);
    else parts.notices.end();
    if (isChanged) parts.notices.everythingChanged();
  }
}
