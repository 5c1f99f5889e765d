import type { Answer } from '../fs/filesystem.ts';
import type { Call } from './call.ts';
import type { StringKind } from './codec.ts';
import type { Fields, Layout } from './struct.ts';

type Declaration = Layout['fields'];

/** What follows the struct and the names of a message: nothing, bytes to keep, or bytes that the handler takes from the source. */
export type Tail = 'none' | 'kept' | 'source';

/** What the length of a message's struct may depend on. */
export interface InputContext {
  /** Whether INIT settled on `flag`. */
  uses(flag: bigint): boolean;
  /** `unread`: bytes after the header. */
  readonly message: { readonly unread: number };
}

/** One row of the table: everything that is known of an opcode. */
export interface Operation {
  readonly opcode: number;
  readonly name: string;
  /** The struct that the message begins with, and how much of it there is when that depends. */
  readonly input: Layout | undefined;
  readonly inputSize: ((context: InputContext) => number) | undefined;
  /** The NUL-terminated strings after it. */
  readonly strings: readonly StringKind[];
  readonly tail: Tail;
  /** The struct that answers. */
  readonly output: Layout | undefined;
  /** Nothing answers: the message has no room for a reply. */
  readonly noReply: boolean;
  /** It would change the filesystem: EROFS in a read-only share, and not to be asked twice. */
  readonly changes: boolean;
  /** What a reader of the documentation should know. */
  readonly about: string;
  handle(call: Call, input: never): Answer<unknown>;
  reply(call: Call, answer: never, output: never, input: never): number | void;
  drop: ((call: Call, answer: never, input: never) => void) | undefined;
}

interface Row<I extends Declaration, O extends Declaration, A> {
  input?: Layout<I>;
  inputSize?: (context: InputContext) => number;
  strings?: readonly StringKind[];
  tail?: Tail;
  output?: Layout<O>;
  noReply?: boolean;
  changes?: boolean;
  about: string;
  /**
   * Takes the message apart, and asks whoever knows: mostly one call of the filesystem. What it answers later is waited for, and the
   * message is gone by then, but for header, struct and names.
   *
   * @throws FsError whose errno is the answer.
   */
  handle(call: Call, input: Fields<I>): Answer<A>;
  /**
   * Puts the answer into the reply: fills in the `output`, or returns the bytes that are in the sink after the header. Default: the
   * answer is that number, or DEFERRED; nothing is 0.
   */
  reply?(call: Call, answer: A, output: Fields<O>, input: Fields<I>): number | void;
  /** Undoes an answer that came when nobody waited for it any more. */
  drop?(call: Call, answer: A, input: Fields<I>): void;
}

const asItIs = (_call: Call, answer: number | void): number | void => answer;

/** Declares a row. */
export function operation<I extends Declaration, O extends Declaration, A>(
  opcode: number,
  name: string,
  row: Row<I, O, A>,
): Operation {
  const {
    input,
    inputSize,
    strings = [],
    tail = 'none',
    output,
    noReply = false,
    changes = false,
    about,
    handle,
    reply = asItIs,
    drop,
  } = row;
  return {
    opcode,
    name,
    input: input as Layout | undefined,
    inputSize,
    strings,
    tail,
    output: output as Layout | undefined,
    noReply,
    changes,
    about,
    handle: handle as Operation['handle'],
    reply: reply as Operation['reply'],
    drop: drop as Operation['drop'],
  };
}
