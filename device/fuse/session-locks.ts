import { EINTR, EINVAL, FsError } from '../fs/errno.ts';
import { GRANTED, type Lock, type LockTable, REFUSED } from '../fs/locks.ts';
import { ReplyWriter } from './codec.ts';
import { DEFERRED, type FuseRequest } from './request.ts';
import type { Deliver } from './waiting-calls.ts';

interface Deferred {
  readonly request: FuseRequest;
  /** Its number in the lock table, until it is only to be told. */
  waiter: number;
}

export interface WaiterState {
  unique: bigint;
  /** In the lock table; or it has its lock, or can't have it, and was not told yet: {@link GRANTED}, {@link REFUSED}. */
  waiter: number;
}

/** A session's part of the filesystem's lock table, and its requests that wait there. */
export class SessionLocks {
  readonly table: LockTable;
  /** Of the session: tells those of a filesystem apart, as owners of different guests may have equal numbers. */
  id: string;
  readonly #deferred = new Map<bigint, Deferred>();
  readonly #reply = new ReplyWriter(0);
  readonly #deliver: Deliver;

  constructor(table: LockTable, id: string, deliver: Deliver) {
    this.table = table;
    this.id = id;
    this.#deliver = deliver;
    table.setOwner(id, this);
  }

  /** Whether the session is here: a restore may have moved it to another machine. */
  get isOwner(): boolean {
    return this.table.ownerOf(this.id) === this;
  }

  /** SETLKW: 0 when the lock was free, DEFERRED when `request` waits for it. @throws FsError EDEADLK, ENOLCK, EINVAL. */
  wait(lock: Lock, unique: bigint, request: FuseRequest): number {
    if (this.#deferred.has(unique)) throw FsError.of(EINVAL);
    const deferred: Deferred = { request, waiter: GRANTED };
    const waiter = this.table.setlkw(lock, (errno) => this.#settle(unique, deferred, errno));
    if (waiter === undefined) return 0;
    deferred.waiter = waiter;
    this.#deferred.set(unique, deferred);
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
      const deferred: Deferred = { request, waiter };
      this.#deferred.set(unique, deferred);
      if (waiter === GRANTED) this.#settle(unique, deferred, 0);
      else if (!this.table.resume(waiter, (errno) => this.#settle(unique, deferred, errno)))
        this.#settle(unique, deferred, EINTR);
    }
  }

  /** Nothing is waited for any more, but that the machine runs. */
  #settle(unique: bigint, deferred: Deferred, errno: number): void {
    deferred.waiter = errno ? REFUSED : GRANTED;
    this.#deliver(() => {
      if (this.#deferred.get(unique) === deferred) this.#answer(unique, errno);
    });
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
