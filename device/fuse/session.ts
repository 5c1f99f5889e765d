import type { Backend } from '../fs/backend.ts';
import { EIO, ENOSYS, EPROTO, EROFS, FsError } from '../fs/errno.ts';
import { LockTable } from '../fs/locks.ts';
import { randomUuid } from '../random-uuid.ts';
import { Call } from './call.ts';
import { IN_HEADER_SIZE, OUT_HEADER_SIZE } from './codec.ts';
import { FUSE_INIT } from './constants.ts';
import { HandleTable } from './handle-table.ts';
import { maxMessage, type Negotiated } from './negotiation.ts';
import { NodeTable } from './node-table.ts';
import { OPERATIONS } from './opcodes.ts';
import type { Operation } from './operation.ts';
import { Policy, type PolicyOptions } from './policy.ts';
import { DEFERRED, type FuseRequest } from './request.ts';
import { SessionLocks } from './session-locks.ts';
import { type CheckedSessionState, checkSessionState, type InodeIndex, type SessionState } from './session-state.ts';

export type { Negotiated } from './negotiation.ts';
export type { CheckedSessionState, InodeIndex } from './session-state.ts';

export interface FuseSessionOptions extends PolicyOptions {
  backend: Backend;
  /** The filesystem's lock table. Default: one of the session's own. */
  lockTable?: LockTable;
  /** Open files and directories at once; ENFILE beyond. Default: 65,536. */
  maxHandles?: number;
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

/** One FUSE session: what one mounted guest and the filesystem know of each other. */
export class FuseSession {
  /** Called after every request, while set. */
  onTrace: ((event: TraceEvent) => void) | undefined;
  /** Called with what should never happen: the guest got EIO for it. */
  onError: ((error: unknown) => void) | undefined;
  readonly #call: Call;
  readonly #views = new Map<Operation, Views>();

  /** @throws RangeError for options that contradict each other or the protocol. */
  constructor({ backend, lockTable = new LockTable(), maxHandles = MAX_HANDLES, ...policy }: FuseSessionOptions) {
    this.#call = new Call({
      backend,
      nodes: new NodeTable(backend),
      handles: new HandleTable(backend, maxHandles),
      locks: new SessionLocks(lockTable, randomUuid()),
      policy: new Policy(policy),
    });
  }

  /** What INIT settled; undefined before it, and after DESTROY. */
  get negotiated(): Negotiated | undefined {
    return this.#call.negotiated;
  }

  /** Its name in the filesystem's lock table. */
  get name(): string {
    return this.#call.locks.session;
  }

  /** Tells this session from every other, 1 to 2^32 - 1; 0 while there is none. It stays through snapshots. */
  get number(): number {
    return this.#call.number;
  }

  /** Whether the session outlives a reset of its device: as {@link keepNext} was when INIT began it. It stays through snapshots. */
  get outlivesReset(): boolean {
    return this.#call.outlivesReset;
  }

  /** Whether sessions that begin from now on outlive a reset. Default: false. */
  set keepNext(keep: boolean) {
    this.#call.keepNext = keep;
  }

  /** Serves one request. Returns the reply's length in bytes, or DEFERRED. Never throws on guest input. */
  handle(request: FuseRequest): number {
    const call = this.#call;
    const started = this.onTrace ? performance.now() : 0;
    call.request = request;
    let operation: Operation | undefined;
    let error = 0;
    let length: number;
    try {
      call.message.begin(request.source, maxMessage(call.negotiated));
      operation = OPERATIONS.get(call.header.opcode);
      length = this.#serve(operation);
    } catch (thrown) {
      error = this.#errnoOf(thrown);
      length = operation?.noReply ? 0 : call.reply.error(request.sink, call.header.unique, error);
    }
    if (this.onTrace) this.#trace(operation, error, length, performance.now() - started);
    return length;
  }

  #serve(operation: Operation | undefined): number {
    const call = this.#call;
    const {
      message,
      reply,
      request,
      request: { sink },
    } = call;
    if (!operation) throw FsError.of(ENOSYS);
    if (!call.negotiated && operation.opcode !== FUSE_INIT) throw FsError.of(EPROTO);
    if (operation.changes && call.policy.readOnly) throw FsError.of(EROFS);
    if (!operation.noReply && sink.capacity < OUT_HEADER_SIZE) throw FsError.of(EIO);
    request.isAwaited = !operation.noReply;
    const { input, output } = this.#viewsOf(operation);
    if (operation.input) message.takeStruct(operation.inputSize?.(call) ?? operation.input.size, operation.input.size);
    if (operation.strings.length || operation.tail === 'kept') message.takeRest();
    call.strings = operation.strings.map((kind) => message.string(kind));
    if (operation.output) reply.reserve(sink, operation.output.size);
    const result = operation.handle(call, input as never, output as never) ?? 0;
    if (result === DEFERRED) return DEFERRED;
    if (operation.noReply) return 0;
    const structSize = operation.output?.size ?? 0;
    return reply.success(sink, call.header.unique, structSize + result, structSize);
  }

  #viewsOf(operation: Operation): Views {
    let views = this.#views.get(operation);
    if (!views) {
      views = {
        input: operation.input?.at(this.#call.message.view, IN_HEADER_SIZE),
        output: operation.output?.at(this.#call.reply.view, OUT_HEADER_SIZE),
      };
      this.#views.set(operation, views);
    }
    return views;
  }

  #errnoOf(thrown: unknown): number {
    if (thrown instanceof FsError) return thrown.code;
    this.onError?.(thrown);
    return EIO;
  }

  #trace(operation: Operation | undefined, error: number, length: number, duration: number): void {
    const { header, message, strings } = this.#call;
    const { unique, nodeid, uid, gid, pid, opcode } = header;
    const args = operation?.input?.decode(message.view, IN_HEADER_SIZE) ?? {};
    if (operation?.strings.length) args['names'] = [...strings];
    this.onTrace!({
      unique,
      opcode: operation?.name ?? `opcode ${opcode}`,
      nodeid,
      uid,
      gid,
      pid,
      args,
      error,
      length,
      duration,
    });
  }

  /** The driver took a request back that was answered {@link DEFERRED}: it is dead, and forgotten without a reply. */
  abandon(request: FuseRequest): void {
    this.#call.locks.abandon(request);
  }

  /** Gives up all that the guest holds: lookups, handles, locks. The next request must be INIT. */
  end(): void {
    this.#call.end();
  }

  /** As {@link end}, and nothing more will come: the machine is gone. */
  close(): void {
    this.#call.close();
  }

  /** Whether it has not moved to another machine. */
  get isHere(): boolean {
    return this.#call.locks.isOwner;
  }

  /** Plain data, a copy. */
  state(): SessionState {
    const { negotiated, number, outlivesReset, nodes, handles, locks } = this.#call;
    return {
      negotiated,
      number,
      outlivesReset,
      nodes: nodes.state(),
      handles: handles.state(),
      session: locks.session,
      waiters: locks.state(),
    };
  }

  /** Decides whether `state` can be restored, and changes nothing. @throws TypeError that says what is wrong. */
  static checkState(state: unknown, filesystem: InodeIndex): CheckedSessionState {
    return checkSessionState(state, filesystem);
  }

  /** Goes on with a checked state, whose filesystem was restored before. `requestOf` finds the requests that wait. */
  restore(state: CheckedSessionState, requestOf: (unique: bigint) => FuseRequest | undefined): void {
    const call = this.#call;
    call.negotiated = state.negotiated;
    call.number = state.number;
    call.outlivesReset = state.outlivesReset;
    call.nodes.restore(state.nodes);
    call.handles.restore(state.handles);
    call.locks.restore(state.session, state.waiters, requestOf);
  }
}
