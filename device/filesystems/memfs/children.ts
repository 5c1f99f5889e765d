import type { Directory } from '../memory/directory.ts';
import type { LinkView } from './link-view.ts';
import type { Views } from './views.ts';

/** A directory's entries as the map that memfs expects. */
export class Children implements ReadonlyMap<string, LinkView> {
  readonly #views: Views;
  readonly #directory: Directory;

  constructor(views: Views, directory: Directory) {
    this.#views = views;
    this.#directory = directory;
  }

  get size(): number {
    return this.#directory.length;
  }

  has(name: string): boolean {
    return this.#directory.get(name) !== undefined;
  }

  get(name: string): LinkView | undefined {
    const entry = this.#directory.get(name);
    return entry && this.#views.linkOf(entry);
  }

  *keys(): MapIterator<string> {
    for (const { name } of this.#directory.entries()) yield name;
  }

  *values(): MapIterator<LinkView> {
    for (const entry of this.#directory.entries()) yield this.#views.linkOf(entry);
  }

  *entries(): MapIterator<[string, LinkView]> {
    for (const link of this.values()) yield [link.name, link];
  }

  [Symbol.iterator](): MapIterator<[string, LinkView]> {
    return this.entries();
  }

  forEach(visit: (link: LinkView, name: string, map: ReadonlyMap<string, LinkView>) => void): void {
    for (const [name, link] of this) visit(link, name, this);
  }
}
