import { css, type LitElement, type ReactiveController } from 'lit';

/** A view with parts that a lesson may speak of: elements with `data-mark`, each by one or more names. */
export interface MarkedElement extends LitElement {
  /** Names of what is marked. */
  marks: readonly string[];
}

/** Marks the parts of a view that a lesson speaks of, and brings the first one into sight when it speaks of something else. */
export class Marks implements ReactiveController {
  readonly #view: MarkedElement;
  #shown = '';

  constructor(view: MarkedElement) {
    this.#view = view;
    view.addController(this);
  }

  hostUpdated(): void {
    const { marks, renderRoot } = this.#view;
    if (!marks.length && !this.#shown) return;
    const found: Element[] = [];
    for (const element of renderRoot.querySelectorAll('[data-mark]')) {
      const isMarked = element
        .getAttribute('data-mark')!
        .split(' ')
        .some((name) => marks.includes(name));
      if (element.hasAttribute('data-marked') !== isMarked) element.toggleAttribute('data-marked', isMarked);
      if (isMarked) found.push(element);
    }
    const wanted = found.length ? marks.join(' ') : '';
    if (wanted && wanted !== this.#shown) found[0]!.scrollIntoView({ block: 'nearest' });
    this.#shown = wanted;
  }
}

/** What lessons call the rows of a file, by its path, wherever they are. */
export function nameMark(path: string): string {
  return `name:${path.slice(path.lastIndexOf('/') + 1).replaceAll(/\s/g, '_')}`;
}

export const markStyles = css`
  [data-marked] { outline: 2px solid var(--warn); outline-offset: -1px; border-radius: 4px; background: color-mix(in srgb, var(--warn) 16%, transparent); }
`;
