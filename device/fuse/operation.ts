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
  /** It would change the filesystem: EROFS in a read-only share. */
  readonly changes: boolean;
  /** What a reader of the documentation should know. */
  readonly about: string;
  handle(call: Call, input: never, output: never): number | void;
}

interface Row<I extends Declaration, O extends Declaration> {
  input?: Layout<I>;
  inputSize?: (context: InputContext) => number;
  strings?: readonly StringKind[];
  tail?: Tail;
  output?: Layout<O>;
  noReply?: boolean;
  changes?: boolean;
  about: string;
  /**
   * Does the work. With an `output` it fills that in; else it returns the bytes that it has put
   * into the sink after the header, or DEFERRED.
   *
   * @throws FsError whose errno is the answer.
   */
  handle(call: Call, input: Fields<I>, output: Fields<O>): number | void;
}

/** Declares a row. */
export function operation<I extends Declaration, O extends Declaration>(
  opcode: number,
  name: string,
  row: Row<I, O>,
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
  };
}
