import { css, html, LitElement } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import type { Term } from './course-format.ts';
import { renderProse } from './prose.ts';
import { proseStyles } from './styles.ts';

/** The terms of a course, in a dialog. */
export class Glossary extends LitElement {
  static override properties = { terms: { attribute: false }, current: { attribute: false } };
  static override styles = [
    controls,
    proseStyles,
    css`
    dialog { width: min(620px, calc(100vw - 24px)); max-height: min(80dvh, 720px); padding: 0; border: 1px solid var(--border); border-radius: 12px; background: var(--surface); color: var(--text); box-shadow: var(--shadow); }
    dialog[open] { display: flex; flex-direction: column; }
    dialog::backdrop { background: rgb(0 0 0 / 45%); }
    header { display: flex; align-items: center; gap: 8px; padding: 10px 10px 10px 20px; border-bottom: 1px solid var(--border); }
    h2 { flex: 1; margin: 0; font-size: 16px; }
    .terms { padding: 8px 20px 16px; overflow: auto; }
    dl { margin: 0; }
    .term-entry { padding: 4px 10px; margin: 0 -10px; border-radius: 6px; scroll-margin: 12px; }
    .term-entry[data-current] { background: var(--accent-soft); }
    dt { margin-top: 6px; font-weight: 600; }
    dd { margin: 0; }
  `,
  ];

  declare terms: readonly Term[];
  /** Id of the one that was asked for. */
  declare current: string | undefined;

  override render() {
    return html`<dialog aria-labelledby="title" @close=${() => this.remove()}>
      <header><h2 id="title">Glossary</h2><button class="plain icon" aria-label="Close" @click=${() => this.#dialog.close()}>${icon('close')}</button></header>
      <div class="terms" role="region" tabindex="0" aria-label="Terms"><dl>${repeat(
        this.terms,
        ({ id }) => id,
        ({ id, title, prose }) =>
          html`<div class="term-entry" id=${`term-${id}`} ?data-current=${id === this.current}><dt>${title}</dt><dd>${renderProse(prose, { onTerm: (other) => (this.current = other) })}</dd></div>`,
      )}</dl></div></dialog>`;
  }

  get #dialog(): HTMLDialogElement {
    return this.renderRoot.querySelector('dialog')!;
  }

  override updated(): void {
    if (!this.#dialog.open) this.#dialog.showModal();
    this.renderRoot.querySelector('[data-current]')?.scrollIntoView({ block: 'center' });
  }
}

customElements.define('vm-glossary', Glossary);

/** Shows the glossary below `root`, at one of its terms if it is given. */
export function showGlossary(root: ShadowRoot, terms: readonly Term[], current?: string): void {
  const glossary = document.createElement('vm-glossary') as Glossary;
  glossary.terms = terms;
  glossary.current = current;
  root.append(glossary);
}
