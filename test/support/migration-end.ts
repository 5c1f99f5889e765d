import { MigrationError, MigrationRefusedError } from '../../device/migration/channel.ts';
import type { CommitLink } from '../../device/migration/commit.ts';
import { MESSAGE, type Message } from '../../device/migration/link.ts';

const NAMES = Object.fromEntries(Object.entries(MESSAGE).map(([name, type]) => [type, name]));

/** How often each may happen in one course. */
export interface Budget {
  crashesThere: number;
  crashesHere: number;
  /** Questions of the source, when it does not know. */
  questions: number;
  /** Questions of somebody else, at any time. */
  strays: number;
  /** Disks that fail to keep, or to say that they have kept. */
  diskFailures: number;
  /** Times that all records are lost. */
  losses: number;
  /** Of the machine's owner: runs it, takes it back, stops it. */
  ownerActs: number;
}

export const NOTHING: Budget = {
  crashesThere: 0,
  crashesHere: 0,
  questions: 0,
  strays: 0,
  diskFailures: 0,
  losses: 0,
  ownerActs: 0,
};

/** What is taken out, to see that it is missed. */
export interface Faults {
  /** Who rewinds or runs the machine is not asked in which state it is. */
  isLeaseIgnored?: boolean;
  /** Lost records are taken for machines that were not started. */
  isUnknownNever?: boolean;
  /** Records are read and written in two steps. */
  isDecidedInTwoSteps?: boolean;
  /** The machine starts before it is kept that it does. */
  startsBeforeKept?: boolean;
  /** A question is answered without its being taken down. */
  isQuestionNotKept?: boolean;
  /** A link that ends after the order to go on is taken for a refusal. */
  isEndRefusal?: boolean;
}

/** One end of a link, and who uses it. */
export class End implements CommitLink {
  readonly log: string[] = [];
  readonly inbox: { type: number; body: Uint8Array }[] = [];
  readonly where: 'here' | 'there' | 'elsewhere';
  readonly name: string;
  peer!: End;
  isOpen = true;
  /** Its process is gone. */
  isDead = false;
  waiting: { expected: number[]; resolve(message: Message): void; reject(error: Error): void } | undefined;

  constructor(name: string, where: End['where']) {
    this.name = name;
    this.where = where;
  }

  async send(type: number, body: Uint8Array): Promise<void> {
    if (!this.isOpen) throw new MigrationError('the link has ended');
    this.log.push(`sent ${NAMES[type]}`);
    if (this.peer.isOpen && !this.peer.isDead) this.peer.inbox.push({ type, body });
  }

  sendJson(type: number, value: unknown): Promise<void> {
    return this.send(type, new TextEncoder().encode(JSON.stringify(value)));
  }

  async prepare(type: number, body: Uint8Array): Promise<() => Promise<void>> {
    return () => this.send(type, body);
  }

  receive(...expected: number[]): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (this.isOpen) this.waiting = { expected, resolve, reject };
      else reject(new MigrationError('the link has ended'));
    });
  }

  deliver(): void {
    const { expected, resolve, reject } = this.waiting!;
    const { type, body } = this.inbox.shift()!;
    this.log.push(`got ${NAMES[type]} ${new TextDecoder().decode(body)}`);
    this.waiting = undefined;
    if (type === MESSAGE.REFUSED) reject(new MigrationRefusedError('refused'));
    else if (!expected.includes(type)) reject(new MigrationError('out of turn'));
    else resolve({ type, body });
  }

  /** It is over for this side: it has ended, or nothing has come for too long. */
  close(error: Error = new MigrationError('the link has ended')): void {
    this.isOpen = false;
    this.inbox.length = 0;
    this.log.push('end');
    this.waiting?.reject(error);
    this.waiting = undefined;
  }
}
