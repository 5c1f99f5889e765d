import type { GuestView } from '../../embed/connection.ts';

/** What a visitor has made of a text, and not saved. */
export interface Draft {
  text: string;
  /** The file's text that it began from, and the version that has it. */
  base: string;
  version: string;
  /** What the file has at its lines' ends; `text` and `base` have LF. */
  lineEnd: '\n' | '\r\n';
}

/** All that is not saved, of all guests: the browser asks before it leaves the page. */
const unsaved = new Set<Drafts>();
const all = new WeakMap<GuestView, Drafts>();

const warn = (event: BeforeUnloadEvent) => event.preventDefault();

/** The drafts of one guest's folder, by path. They stay while the visitor looks at something else. */
export class Drafts {
  static of(guest: GuestView): Drafts {
    let drafts = all.get(guest);
    if (!drafts) all.set(guest, (drafts = new Drafts()));
    return drafts;
  }

  readonly #byPath = new Map<string, Draft>();

  get paths(): string[] {
    return [...this.#byPath.keys()];
  }

  get(path: string): Draft | undefined {
    return this.#byPath.get(path);
  }

  has(path: string): boolean {
    return this.#byPath.has(path);
  }

  set(path: string, draft: Draft): void {
    this.#byPath.set(path, draft);
    this.#changed();
  }

  delete(path: string): void {
    this.#byPath.delete(path);
    this.#changed();
  }

  /** Drafts go with their files, and with the directories those are in. */
  renamed(path: string, newPath: string): void {
    for (const [at, draft] of [...this.#byPath]) {
      if (at !== path && !at.startsWith(`${path}/`)) continue;
      this.#byPath.delete(at);
      this.#byPath.set(newPath + at.slice(path.length), draft);
    }
  }

  /** Those of a file or directory that the visitor has deleted. */
  removed(path: string): void {
    for (const at of this.paths) if (at === path || at.startsWith(`${path}/`)) this.delete(at);
  }

  #changed(): void {
    if (this.#byPath.size) unsaved.add(this);
    else unsaved.delete(this);
    if (unsaved.size) addEventListener('beforeunload', warn);
    else removeEventListener('beforeunload', warn);
  }
}
