import { OneAtATime } from '../one-at-a-time.ts';
import { MachineError } from './errors.ts';

/**
 * What a machine is to this side:
 * - `ours`: it runs or is paused, as its owner likes;
 * - `arriving`: another machine is moving into it;
 * - `migrating`: it is moving to another side, and its guest runs meanwhile;
 * - `switching`: its guest was stopped for that, and which side goes on with it is being decided;
 * - `unknown`: the link broke in the switch, so that it may run on the other side;
 * - `handed over`: it runs on the other side;
 * - `ended`: its emulator was destroyed.
 */
export type LeaseState = 'ours' | 'arriving' | 'migrating' | 'switching' | 'unknown' | 'handed over' | 'ended';

/** What can be asked of a machine, and in which states it is done. */
const ALLOWED = {
  run: ['ours', 'migrating'],
  reboot: ['ours', 'migrating'],
  'run a command in': ['ours', 'migrating'],
  freeze: ['ours', 'migrating', 'switching', 'unknown'],
  save: ['ours', 'migrating', 'switching', 'unknown'],
  restore: ['ours'],
  suspend: ['ours'],
  wake: ['ours'],
  migrate: ['ours'],
  'move another machine into': ['ours'],
  fill: ['arriving'],
} as const satisfies Record<string, readonly LeaseState[]>;

/** What is done to a machine, by the name that its errors have. */
export type Operation = keyof typeof ALLOWED;

const REASONS: Record<LeaseState, string> = {
  ours: 'it is not being filled by a migration',
  arriving: 'another machine is moving into it; wait until that has arrived',
  migrating: 'it is being migrated; wait until it has moved, or cancel the migration',
  switching: 'it is being switched over to the other side; wait until that is decided',
  unknown:
    'it may run on the other side, since the link broke during the switch; settle that first (settleMigration), or decide with `resume` or `handOver` of the error',
  'handed over': 'it has moved, and runs on the other side',
  ended: 'it was stopped; boot or restore another one',
};

/** A machine's state does not allow what was asked of it. Nothing has changed. */
export class MachineStateError extends MachineError {
  override readonly name = 'MachineStateError';
  readonly operation: Operation;
  readonly state: LeaseState;

  constructor(operation: Operation, state: LeaseState) {
    super(`can't ${operation} this machine: ${REASONS[state]}`);
    this.operation = operation;
    this.state = state;
  }
}

/** How an emulator is driven; it tells when it has {@link MachineLease.started} and {@link MachineLease.stopped}. */
export interface Engine {
  run(): void;
  stop(): void;
}

/**
 * Whose a machine is, and the one thing that everything passes which runs it, stops it, copies it or changes what it is: owners, freezes, restores,
 * migrations and v86's own functions. What excludes each other waits for its turn, or is refused with a {@link MachineStateError}.
 */
export class MachineLease {
  readonly #engine: Engine;
  #state: LeaseState = 'ours';
  /** Whether it should run as soon as it may. */
  #isWanted = false;
  #holds = 0;
  #isRunning = false;
  #isStopping = false;
  /** What nothing else may be done beside. */
  readonly #changes = new OneAtATime();
  #departure: Departure | undefined;
  readonly #isStoppedOrDecided: (() => void)[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  get state(): LeaseState {
    return this.#state;
  }

  /** @throws MachineStateError */
  check(operation: Operation): void {
    if (!(ALLOWED[operation] as readonly LeaseState[]).includes(this.#state))
      throw new MachineStateError(operation, this.#state);
  }

  /** Settles when no switch is under way. */
  async decided(): Promise<void> {
    await this.#until(() => this.#state !== 'switching');
  }

  /** Lets it run; when it is held, after that. @throws MachineStateError */
  run(): void {
    this.check('run');
    this.#isWanted = true;
    this.#drive(true);
  }

  /** Stops it. */
  stop(): void {
    this.#isWanted = false;
    this.#drive();
  }

  /** To be called when the engine has started. */
  started(): void {
    this.#isRunning = true;
  }

  /** To be called when the engine has stopped. */
  stopped(): void {
    this.#isRunning = false;
    this.#isStopping = false;
    this.#wake();
    // Others are being told still.
    queueMicrotask(() => this.#drive());
  }

  /** Keeps it from running until the result is called. Settles when it is paused. */
  async hold(): Promise<() => void> {
    this.#holds++;
    this.#drive();
    await this.#until(() => !this.#isRunning);
    let isHeld = true;
    return () => {
      if (isHeld) this.#holds--;
      isHeld = false;
      this.#drive();
    };
  }

  /** Does what nothing else may be done beside, at once when nothing is. @throws MachineStateError, also when the state has changed until its turn. */
  async inTurn<T>(operation: Operation, action: () => T | Promise<T>): Promise<T> {
    this.check(operation);
    const begin = async () => {
      this.check(operation);
      return action();
    };
    return this.#changes.run(begin);
  }

  /** Begins a migration, when what is under way has been done. @throws MachineStateError */
  async depart(): Promise<Departure> {
    this.check('migrate');
    if (this.#departure) throw new MachineStateError('migrate', 'migrating');
    const departure = new Departure({
      hold: () => this.hold(),
      become: (state) => this.#become(state),
      over: () => void (this.#departure = undefined),
    });
    this.#departure = departure;
    try {
      await this.inTurn('migrate', () => this.#become('migrating'));
      return departure;
    } catch (error) {
      this.#departure = undefined;
      throw error;
    }
  }

  /** Begins to fill it with a machine that comes from elsewhere: it can't be run until what this returns is called. @throws MachineStateError */
  arrive(): () => void {
    this.check('move another machine into');
    if (this.#isWanted || this.#departure)
      throw new MachineError("can't move another machine into one that runs: make a new one");
    this.#become('arriving');
    return () => {
      if (this.#state !== 'arriving') throw new MachineStateError('fill', this.#state);
      this.#become('ours');
    };
  }

  /** Ends it for good. A migration that has not come to its switch is given up. */
  end(): void {
    this.#become('ended');
    this.#departure?.abort();
  }

  #become(state: LeaseState): void {
    if (this.#state === 'ended') return;
    this.#state = state;
    this.#wake();
    this.#drive();
  }

  /** `again`: as v86 does with what runs already, for a guest that idles. */
  #drive(again = false): void {
    const isDue = this.#isWanted && !this.#holds && (ALLOWED.run as readonly LeaseState[]).includes(this.#state);
    // What is asked while it stops is done when it has.
    if (this.#isStopping) return;
    if (isDue && (!this.#isRunning || again)) this.#engine.run();
    if (!isDue && this.#isRunning) {
      this.#isStopping = true;
      this.#engine.stop();
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#isStoppedOrDecided.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#isStoppedOrDecided.splice(0)) resolve();
  }
}

/** What a {@link Departure} does to the lease. */
interface Lessor {
  hold(): Promise<() => void>;
  become(state: LeaseState): void;
  /** Another one may begin. */
  over(): void;
}

/** A machine on its way to another side. Whoever moves it calls {@link keep} or {@link handOver} in the end, once. */
export class Departure {
  readonly #lease: Lessor;
  readonly #abort = new AbortController();
  #release: (() => void) | undefined;
  #isCommitted = false;
  #outcome: 'kept' | 'handed over' | undefined;

  constructor(lease: Lessor) {
    this.#lease = lease;
  }

  /** Aborted when the machine is ended. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  abort(): void {
    this.#abort.abort(new MachineStateError('migrate', 'ended'));
  }

  /** Stops the guest for what is left to send. */
  async stand(): Promise<void> {
    this.#lease.become('switching');
    this.#release = await this.#lease.hold();
  }

  /** To be called right before the order to go on is sent: from here on it does not run here unless {@link keep} says so. @throws MachineStateError when it was ended. */
  commit(): void {
    this.signal.throwIfAborted();
    if (!this.#release || this.#outcome) throw new Error('the guest has to be paused before it can be switched over');
    this.#isCommitted = true;
  }

  /** The order was sent, and nobody knows whether it arrived. */
  lose(): void {
    if (!this.#isCommitted) throw new Error('the order to resume was not sent');
    if (!this.#outcome) this.#lease.become('unknown');
  }

  /** It stays, and goes on as it did. @throws MachineStateError when it was handed over. */
  keep(): void {
    if (this.#outcome === 'handed over') throw new MachineStateError('run', 'handed over');
    if (this.#outcome) return;
    this.#decide('kept');
    this.#release?.();
  }

  /** It runs on the other side. @throws MachineStateError when it was kept. */
  handOver(): void {
    if (this.#outcome === 'kept')
      throw new MachineError('this machine was kept: it resumes here, and must not run on the other side');
    if (this.#outcome) return;
    if (!this.#isCommitted) throw new Error('the order to resume was not sent');
    this.#decide('handed over');
  }

  #decide(outcome: 'kept' | 'handed over'): void {
    this.#outcome = outcome;
    this.#lease.over();
    this.#lease.become(outcome === 'kept' ? 'ours' : outcome);
  }
}
