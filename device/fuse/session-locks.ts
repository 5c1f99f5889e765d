import { EINTR, EINVAL, FsError } from '../fs/errno.ts';
import { GRANTED, type Lock, type LockTable } from '../fs/locks.ts';
import { ReplyWriter } from './codec.ts';
import { DEFERRED, type FuseRequest } from './request.ts';

interface Deferred {
  readonly request: FuseRequest;
  /** Its number in the lock table. */
  readonly waiter: number;
}

export interface WaiterState {
  unique: bigint;
  waiter: number;
}

/** A session's part of the filesystem's lock table, and its requests that wait there. */
export class SessionLocks {
  readonly table: LockTable;
  /** Of the session: tells those of a filesystem apart, as owners of different guests may have equal numbers. */
  id: string;
  readonly #deferred = new Map<bigint, Deferred>();
  readonly #reply = new ReplyWriter(0);

  constructor(table: LockTable, id: string) {
    this.table = table;
    this.id = id;
    table.setOwner(id, this);
  }

  /** Whether the session is here: a restore may have moved it to another machine. */
  get isOwner(): boolean {
    return this.table.ownerOf(this.id) === this;
  }

  /** SETLKW: 0 when the lock was free, DEFERRED when `request` waits for it. @throws FsError EDEADLK, ENOLCK, EINVAL. */
  wait(lock: Lock, unique: bigint, request: FuseRequest): number {
    if (this.#deferred.has(unique)) throw FsError.of(EINVAL);
    const waiter = this.table.setlkw(lock, (errno) => this.#answer(unique, errno));
    if (waiter === undefined) return 0;
    this.#deferred.set(unique, { request, waiter });
    return DEFERRED;
  }

  /** A request that waits is answered EINTR. Others need no interrupting: unknown ones are common. */
  interrupt(unique: bigint): void {
    const deferred = this.#deferred.get(unique);
    if (deferred && this.table.cancel(deferred.waiter)) this.#answer(unique, EINTR);
  }

  /** Forgets a request that waits, without a reply. */
  abandon(request: FuseRequest): void {
    for (const [unique, deferred] of this.#deferred) {
      if (deferred.request !== request) continue;
      this.#deferred.delete(unique);
      this.table.cancel(deferred.waiter);
    }
  }

  /** Gives up all locks. */
  end(): void {
    this.#deferred.clear();
    if (this.isOwner) this.table.releaseSession(this.id);
  }

  /** Gives up all locks, for good. */
  close(): void {
    this.end();
    if (this.isOwner) this.table.setOwner(this.id, undefined);
  }

  state(): WaiterState[] {
    return [...this.#deferred].map(([unique, { waiter }]) => ({ unique, waiter }));
  }

  /** Goes on waiting. Who has no request or no place in the lock table any more has nothing to wait for. */
  restore(id: string, waiters: readonly WaiterState[], requestOf: (unique: bigint) => FuseRequest | undefined): void {
    if (this.isOwner) this.table.setOwner(this.id, undefined);
    this.id = id;
    this.table.setOwner(id, this);
    this.#deferred.clear();
    for (const { unique, waiter } of waiters) {
      const request = requestOf(unique);
      if (!request) {
        this.table.cancel(waiter);
        continue;
      }
      this.#deferred.set(unique, { request, waiter });
      if (waiter === GRANTED) this.#answer(unique, 0);
      else if (!this.table.resume(waiter, (errno) => this.#answer(unique, errno))) this.#answer(unique, EINTR);
    }
  }

  #answer(unique: bigint, errno: number): void {
    const deferred = this.#deferred.get(unique);
    if (!deferred) return;
    this.#deferred.delete(unique);
    const { request } = deferred;
    request.complete(
      errno ? this.#reply.error(request.sink, unique, errno) : this.#reply.success(request.sink, unique, 0, 0),
    );
  }
}
