import { viewOf } from '../bytes.ts';
import { FUSE_FORGET, FUSE_GETATTR, FUSE_READDIR, FUSE_READDIRPLUS } from '../fuse/constants.ts';
import {
  fuse_attr_out,
  fuse_forget_in,
  fuse_getattr_in,
  fuse_in_header,
  fuse_out_header,
  fuse_read_in,
} from '../fuse/layouts.ts';
import { type ComparedAttr, compareAttrs, type Disagreement, differ } from './compare.ts';
import { isDots, type ListedEntry, readEntries } from './directory-list.ts';
import type { Translation } from './translation.ts';
import { outcomeOf, readReply } from './views.ts';

/** Bytes of one list that is asked for. */
const LIST_SIZE = 32_768;

type Ask = (message: Uint8Array, capacity: number) => Promise<Uint8Array | undefined>;

/** A difference in a directory; `name` is that of the entry. */
interface EntryDisagreement extends Disagreement {
  name?: string;
}

/** A directory as the replay has it. */
interface Directory {
  entries: Map<string, ListedEntry>;
  /** The recorded names so far, from the beginning of the directory on. */
  recorded: Set<string>;
  isPlus: boolean;
}

/** Whether it asks for what is in a directory. */
export function isList(opcode: number): boolean {
  return opcode === FUSE_READDIR || opcode === FUSE_READDIRPLUS;
}

/**
 * What is in directories, compared whatever its order and positions are: where a recorded reading begins, the replayed directory is read to its end, and
 * what the recorded one has is looked for there.
 */
export class ReplayedDirectories {
  readonly #translation: Translation;
  readonly #ask: Ask;
  /** By recorded handle; where the guest opens directories by itself, by node id. */
  readonly #open = new Map<string, Directory>();

  constructor(translation: Translation, ask: Ask) {
    this.#translation = translation;
    this.#ask = ask;
  }

  reset(): void {
    this.#open.clear();
  }

  /** Forgets what the recorded guest has not looked up with the list. */
  async close(fh: bigint): Promise<void> {
    const directory = this.#open.get(`fh ${fh}`);
    this.#open.delete(`fh ${fh}`);
    if (directory) await this.#forget(directory);
  }

  async #forget({ entries, isPlus }: Directory): Promise<void> {
    if (!isPlus) return;
    for (const { nodeid } of entries.values())
      if (nodeid !== 0n)
        await this.#ask(
          message(FUSE_FORGET, nodeid, fuse_forget_in.size, (view, base) => {
            fuse_forget_in.at(view, base).nlookup = 1;
          }),
          0,
        );
  }

  /** `request`: READDIR or READDIRPLUS; `told`: the recorded reply. */
  async compare(request: Uint8Array, told: ReturnType<typeof readReply>): Promise<EntryDisagreement[]> {
    if (!told || request.length < fuse_in_header.size + fuse_read_in.size) return [];
    const view = viewOf(request);
    const header = fuse_in_header.at(view, 0);
    const isPlus = header.opcode === FUSE_READDIRPLUS;
    const nodeid = view.getBigUint64(fuse_in_header.offsets.nodeid, true);
    const fh = view.getBigUint64(fuse_in_header.size + fuse_read_in.offsets.fh, true);
    const isStart = view.getBigUint64(fuse_in_header.size + fuse_read_in.offsets.offset, true) === 0n;
    const key = fh === 0n ? `node ${nodeid}` : `fh ${fh}`;
    let directory = this.#open.get(key);
    // A guest goes over from one kind to the other in the middle of a directory, when it sees that it pays.
    if (!directory || isStart || directory.isPlus !== isPlus) {
      const before = directory;
      const read = await this.#read(request, isPlus);
      if (typeof read === 'string') return differ<string>('answer', outcomeOf(told.errno), read);
      if (before) await this.#forget(before);
      directory = {
        entries: read,
        recorded: isStart || before ? (before?.recorded ?? new Set()) : new Set(['']),
        isPlus,
      };
      if (isStart) directory.recorded = new Set();
      this.#open.set(key, directory);
    }
    if (told.errno !== 0) return differ('answer', outcomeOf(told.errno), 'ok');
    const found: EntryDisagreement[] = [];
    const recorded = readEntries(told.payload, isPlus);
    for (const entry of recorded) found.push(...(await this.#compareEntry(directory, entry, nodeid, isStart)));
    // Whoever has not seen its beginning does not know what all of it is.
    if (recorded.length === 0 && !directory.recorded.has(''))
      for (const name of directory.entries.keys())
        if (!isDots(name) && !directory.recorded.has(name))
          found.push({ what: 'entry', recorded: 'missing', replayed: 'there', name });
    return found;
  }

  async #compareEntry(
    { entries, recorded }: Directory,
    entry: ListedEntry,
    parent: bigint,
    isFresh: boolean,
  ): Promise<EntryDisagreement[]> {
    const { name, nodeid, type, attr } = entry;
    if (isDots(name)) return [];
    recorded.add(name);
    const other = entries.get(name);
    if (nodeid !== 0n) {
      this.#translation.nodes.set(nodeid, other?.nodeid || undefined);
      this.#translation.name(nodeid, parent, name);
    }
    if (!other) return [{ what: 'entry', recorded: 'there', replayed: 'missing', name }];
    const differences: EntryDisagreement[] = type && other.type ? differ('type', type, other.type) : [];
    if (attr && other.nodeid !== 0n) {
      const now = isFresh ? other.attr : await this.#attrOf(other.nodeid);
      if (now) differences.push(...compareAttrs(attr, now));
    }
    // It is the guest's now.
    if (nodeid !== 0n) other.nodeid = 0n;
    return differences.map((difference) => ({ ...difference, name }));
  }

  async #attrOf(nodeid: bigint): Promise<ComparedAttr | undefined> {
    const asked = message(FUSE_GETATTR, nodeid, fuse_getattr_in.size);
    const reply = await this.#ask(asked, fuse_out_header.size + fuse_attr_out.size);
    const answer = reply && readReply(reply);
    return answer?.errno === 0 ? fuse_attr_out.at(viewOf(answer.payload), 0).attr : undefined;
  }

  /** The whole directory that `request` is about; or why it can't be read. */
  async #read(request: Uint8Array, isPlus: boolean): Promise<Map<string, ListedEntry> | string> {
    const entries = new Map<string, ListedEntry>();
    for (let cookie = 0n; ; ) {
      const asked = this.#translation.readdir(request, cookie, LIST_SIZE);
      const reply = await this.#ask(asked, fuse_out_header.size + LIST_SIZE);
      const answer = reply && readReply(reply);
      if (!answer) return 'none';
      if (answer.errno !== 0) return outcomeOf(answer.errno);
      const list = readEntries(answer.payload, isPlus);
      if (list.length === 0 || list.at(-1)!.cookie === cookie) return entries;
      for (const entry of list) entries.set(entry.name, entry);
      cookie = list.at(-1)!.cookie;
    }
  }
}

/** A request of the replay's own, of root. */
function message(
  opcode: number,
  nodeid: bigint,
  size: number,
  fill: (view: DataView, base: number) => void = () => {},
): Uint8Array {
  const bytes = new Uint8Array(fuse_in_header.size + size);
  const view = viewOf(bytes);
  const header = fuse_in_header.at(view, 0);
  header.len = bytes.length;
  header.opcode = opcode;
  view.setBigUint64(fuse_in_header.offsets.nodeid, nodeid, true);
  fill(view, fuse_in_header.size);
  return bytes;
}
