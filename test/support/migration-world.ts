import { MigrationRefusedError, MigrationUnknownError } from '../../device/migration/channel.ts';
import { askFate, settle, switchOver, takeOver, tellFate } from '../../device/migration/commit.ts';
import { type Fate, type FateStore, MemoryFates } from '../../device/migration/fates.ts';
import { MESSAGE } from '../../device/migration/link.ts';
import { MachineLease } from '../../device/v86/lease.ts';
import { type World, settle as whenQuiet } from './explorer.ts';
import { type Budget, End, type Faults } from './migration-end.ts';

const ID = '00000000-0000-4000-8000-000000000000';

const encoder = new TextEncoder();

/** A decision that is under way. */
interface Decision {
  name: string;
  id: string;
  fate: Fate;
  /** What a two-step one has read. */
  found?: Fate | 'accepted';
  step: 'asked' | 'read' | 'kept' | 'answered';
  outcome?: Fate;
  resolve(fate: Fate | undefined): void;
  reject(error: Error): void;
}

/** The switch of one migration: production code on both sides, and everything between them as bad as can be. */
export class MigrationWorld implements World {
  readonly #budget: Budget;
  readonly #faults: Faults;
  readonly #ends: End[] = [];
  readonly #decisions: Decision[] = [];
  /** The disk there. */
  #records = new MemoryFates();
  /** What is on it; a faulty one decides by this. */
  #record: Fate | 'accepted' | undefined = 'accepted';
  readonly #lease: MachineLease;
  #runsHere = true;
  #runsThere = false;
  #isUpHere = true;
  #isUpThere = true;
  /** The machine there is gone: crashed, or dropped. */
  #isGoneThere = false;
  #wasLost = false;
  #wasCrashedThere = false;
  #wasStoppedHere = false;
  #unknown: MigrationUnknownError | undefined;
  #outcome = '';

  static async make(budget: Budget, faults: Faults = {}): Promise<MigrationWorld> {
    const world = new MigrationWorld(budget, faults);
    await world.#records.accept(ID);
    const [here, there] = world.#connect('move', 'here');
    void world.#source(here);
    void world.#destination(there);
    return world;
  }

  private constructor(budget: Budget, faults: Faults) {
    this.#budget = { ...budget };
    this.#faults = faults;
    this.#lease = new MachineLease({
      run: () => {
        this.#runsHere = this.#isUpHere;
        this.#lease.started();
      },
      stop: () => {
        this.#runsHere = false;
        this.#lease.stopped();
      },
    });
    this.#lease.run();
  }

  #connect(name: string, where: End['where']): [End, End] {
    const ends = [new End(`${name} ${where}`, where), new End(`${name} there`, 'there')] as const;
    ends[0].peer = ends[1];
    ends[1].peer = ends[0];
    this.#ends.push(...ends);
    return [...ends];
  }

  /** As `migrateOut` does after its rounds. */
  async #source(end: End): Promise<void> {
    const departure = await this.#lease.depart();
    await departure.stand();
    try {
      await switchOver(end, departure, ID);
      this.#outcome = 'handed over';
    } catch (error) {
      this.#outcome = (error as Error).name;
      if (error instanceof MigrationUnknownError) this.#unknown = error;
      else departure.keep();
    }
  }

  /** As `MigrationTarget.serve` does after the rounds. */
  async #destination(end: End): Promise<void> {
    try {
      await takeOver(end, this.#fates(end), ID, async () => void (this.#runsThere = !end.isDead));
    } catch {
      this.#isGoneThere = true;
      await end.send(MESSAGE.REFUSED, encoder.encode('{}')).catch(() => {});
    }
  }

  async #answer(end: End): Promise<void> {
    const question = await end.receive(MESSAGE.QUERY);
    await tellFate(end, this.#fates(end), question);
  }

  #fates({ name }: End): FateStore {
    return {
      accept: (id) => this.#records.accept(id),
      decide: (id, fate) =>
        new Promise((resolve, reject) => {
          this.#decisions.push({ name, id, fate, step: 'asked', resolve, reject });
        }),
    };
  }

  async #keep(decision: Decision): Promise<void> {
    decision.step = 'kept';
    const { fate, id } = decision;
    if (this.#faults.isQuestionNotKept && fate === 'never') {
      decision.outcome = this.#record === 'started' ? 'started' : 'never';
    } else if (this.#faults.isDecidedInTwoSteps || this.#faults.startsBeforeKept || this.#faults.isQuestionNotKept) {
      const found = decision.found ?? this.#record;
      if (found === 'accepted') this.#record = fate;
      decision.outcome = found === 'accepted' ? fate : found;
    } else {
      decision.outcome = this.#record = await this.#records.decide(id, fate);
    }
    if (this.#faults.isUnknownNever) decision.outcome ??= 'never';
  }

  actions(): string[] {
    const { crashesThere, crashesHere, questions, strays, diskFailures, losses, ownerActs } = this.#budget;
    const list: string[] = [];
    for (const end of this.#ends) {
      if (end.isDead || !end.isOpen) continue;
      if (end.waiting && end.inbox.length) list.push(`deliver ${end.name}`);
      if (end.waiting) list.push(`end ${end.name}`);
    }
    for (const { name, step, outcome } of this.#decisions) {
      if (step === 'asked') {
        list.push(
          this.#faults.isDecidedInTwoSteps
            ? `read ${name}`
            : this.#faults.startsBeforeKept
              ? `answer ${name}`
              : `keep ${name}`,
        );
        if (diskFailures) list.push(`fail ${name}`);
      }
      if (step === 'read' || (step === 'answered' && outcome === undefined)) list.push(`keep ${name}`);
      if (step === 'kept') {
        list.push(`answer ${name}`);
        if (diskFailures) list.push(`fail ${name}`);
      }
    }
    if (this.#isUpThere) {
      if (crashesThere) list.push('crash there');
      if (strays) list.push('stray question');
    } else {
      list.push('restart there');
    }
    if (losses) list.push('lose records');
    if (!this.#isUpHere) return list;
    if (crashesHere) list.push('crash here');
    const isOpen = this.#unknown && this.#lease.state === 'unknown';
    if (isOpen && questions && this.#isUpThere) list.push('question');
    if (isOpen && this.#isGoneThere && !this.#runsThere) list.push('owner resumes');
    if (isOpen && this.#runsThere) list.push('owner hands over');
    if (ownerActs) list.push('owner runs', 'owner rewinds', 'owner stops');
    return list;
  }

  act(action: string): void {
    const [verb, ...rest] = action.split(' ');
    const name = rest.join(' ');
    const end = this.#ends.find((candidate) => candidate.name === name);
    const decision = this.#decisions.find((candidate) => candidate.name === name);
    switch (verb) {
      case 'deliver':
        return end!.deliver();
      case 'end':
        return end!.close(
          this.#faults.isEndRefusal && end!.where === 'here' ? new MigrationRefusedError('refused') : undefined,
        );
      case 'read':
        decision!.step = 'read';
        decision!.found = this.#record;
        return;
      case 'keep': {
        const wasAnswered = decision!.step === 'answered';
        void this.#keep(decision!);
        if (wasAnswered) this.#forget(decision!);
        return;
      }
      case 'answer':
        if (decision!.step === 'asked') {
          decision!.found = this.#record;
          decision!.resolve(this.#record === 'accepted' ? decision!.fate : this.#record);
          decision!.step = 'answered';
          return;
        }
        decision!.resolve(decision!.outcome);
        return this.#forget(decision!);
      case 'fail':
        this.#budget.diskFailures--;
        decision!.reject(new Error('the disk is full'));
        return this.#forget(decision!);
      case 'crash':
        return rest[0] === 'there' ? this.#crashThere() : this.#crashHere();
      case 'restart':
        this.#isUpThere = true;
        return;
      case 'lose':
        this.#budget.losses--;
        this.#wasLost = true;
        this.#record = undefined;
        this.#records = new MemoryFates();
        return;
      case 'stray': {
        const [asking, answering] = this.#connect(`stray ${this.#budget.strays--}`, 'elsewhere');
        void askFate(asking, ID).catch(() => {});
        void this.#answer(answering).catch(() => {});
        return;
      }
      case 'question':
        return this.#ask(`question ${this.#budget.questions--}`);
      default:
        return this.#owner(name);
    }
  }

  #ask(name: string): void {
    const [asking, answering] = this.#connect(name, 'here');
    void settle(asking, this.#unknown!).catch(() => {});
    void this.#answer(answering).catch(() => {});
  }

  /** Rewinding is what lets a machine run in the end, whoever does it. */
  #owner(what: string): void {
    switch (what) {
      case 'resumes':
        return this.#unknown!.resume();
      case 'hands over':
        return this.#unknown!.handOver();
      case 'stops':
        this.#budget.ownerActs--;
        this.#wasStoppedHere = true;
        this.#lease.end();
        return;
      default: {
        this.#budget.ownerActs--;
        if (this.#faults.isLeaseIgnored) {
          this.#runsHere = !this.#wasStoppedHere;
          return;
        }
        const run = async () => {
          if (what === 'rewinds') await this.#lease.inTurn('restore', async () => (await this.#lease.hold())());
          this.#lease.run();
        };
        // Refused when it can't be.
        run().catch(() => {});
      }
    }
  }

  #forget(decision: Decision): void {
    this.#decisions.splice(this.#decisions.indexOf(decision), 1);
  }

  #crashThere(): void {
    this.#budget.crashesThere--;
    this.#isUpThere = false;
    this.#wasCrashedThere = true;
    this.#isGoneThere = true;
    this.#runsThere = false;
    this.#decisions.length = 0;
    for (const end of this.#ends) if (end.where === 'there') this.#kill(end);
  }

  #crashHere(): void {
    this.#budget.crashesHere--;
    this.#isUpHere = false;
    this.#runsHere = false;
    for (const end of this.#ends) if (end.where === 'here') this.#kill(end);
  }

  #kill(end: End): void {
    end.isDead = true;
    end.inbox.length = 0;
    end.waiting = undefined;
  }

  key(): string {
    return JSON.stringify([
      this.#budget,
      this.#decisions.map(({ name, fate, step, outcome, found }) => [name, fate, step, outcome, found]),
      this.#ends.map(({ name, isOpen, isDead, inbox, log, waiting }) => [
        name,
        isOpen,
        isDead,
        inbox.map(({ type }) => type),
        log,
        waiting?.expected,
      ]),
      this.#lease.state,
      this.#runsHere,
      this.#runsThere,
      this.#isUpHere,
      this.#isUpThere,
      this.#isGoneThere,
      this.#outcome,
      this.#wasLost,
      this.#record,
    ]);
  }

  check(): void {
    if (this.#runsHere && this.#runsThere) throw new Error('two machines run');
    if (this.#runsHere && ['switching', 'unknown', 'handed over'].includes(this.#lease.state))
      throw new Error(`a machine runs that is ${this.#lease.state}`);
  }

  /** The network is whole, both sides are up, and the source asks when it does not know: one machine runs then, unless a side that had it has crashed or was stopped. */
  async heal(): Promise<void> {
    for (let turn = 0; turn < 100; turn++) {
      const actions = this.actions();
      const next =
        actions.find((action) => /^(deliver|keep|read|answer|restart)/.test(action)) ??
        this.#ends
          .filter(({ waiting, isDead, peer }) => waiting && !isDead && (peer.isDead || !peer.isOpen || !peer.waiting))
          .map(({ name }) => `end ${name}`)[0];
      if (next) {
        this.act(next);
      } else if (this.#isUpHere && this.#unknown && this.#lease.state === 'unknown' && !this.#wasLost && turn < 90) {
        this.#ask(`healing ${turn}`);
      } else {
        break;
      }
      await whenQuiet();
      this.check();
    }
    const isOurs = this.#isUpHere && !this.#wasStoppedHere;
    const runs = this.#runsHere || this.#runsThere;
    if (!runs && isOurs && !this.#wasCrashedThere && !this.#wasLost) throw new Error('no machine runs');
    if (!runs && isOurs && this.#lease.state === 'unknown') {
      this.#unknown!.resume();
      await whenQuiet();
      if (!this.#runsHere) throw new Error('the owner has let the machine go on, and it does not run');
    }
    this.check();
  }
}
