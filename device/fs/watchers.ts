import type { Inode, Watcher } from './filesystem.ts';

/** Those who watch a filesystem, for whoever makes one: what `FileSystem.watch` adds to, and all changes are told. */
export class Watchers implements Watcher {
  readonly #watchers = new Set<Watcher>();

  /** Tells `watcher` of changes, until the function that this returns is called. */
  add(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  entryChanged(dir: Inode, name: string): void {
    for (const watcher of this.#watchers) watcher.entryChanged(dir, name);
  }

  inodeChanged(inode: Inode, content: boolean): void {
    for (const watcher of this.#watchers) watcher.inodeChanged(inode, content);
  }

  everythingChanged(): void {
    for (const watcher of this.#watchers) watcher.everythingChanged();
  }
}
