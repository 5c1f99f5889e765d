import { css, html, LitElement, nothing } from 'lit';
import { controls, tokens } from '../styles.ts';
import type { Lesson, Step } from './course-format.ts';
import type { Course } from './load.ts';
import { renderProse } from './prose.ts';
import { proseStyles } from './styles.ts';

/** While this is there, nothing else of the document is printed, or seen. */
const ALONE = 'body > *:not(vm-printable) { display: none !important; }';
/** Where a course is printed, commands have no directory of their own. */
const DIRECTORY = 'DIR';

/** A whole course on paper: texts, commands, questions, hints and terms. */
export class Printable extends LitElement {
  static override properties = { course: { attribute: false } };
  static override styles = [
    tokens,
    controls,
    proseStyles,
    css`
    :host { display: block; position: absolute; inset: 0; z-index: 10; overflow: auto; background: var(--surface); color: var(--text); font: 15px/1.5 var(--sans); }
    main { max-width: 46em; margin: 0 auto; padding: 24px; }
    .actions { display: flex; gap: 8px; justify-content: flex-end; }
    h1 { font-size: 26px; }
    h2 { margin: 32px 0 4px; font-size: 20px; break-after: avoid; }
    h3 { margin: 18px 0 4px; font-size: 16px; break-after: avoid; }
    li { break-inside: avoid; }
    .boxes { padding-left: 0; list-style: none; }
    @media print {
      :host { position: static; color-scheme: light; }
      .actions { display: none; }
      section.lesson { break-before: page; }
      main { padding: 0; }
    }
  `,
  ];

  declare course: Course;

  override render() {
    const { title, prose, lessons, glossary } = this.course;
    return html`<main>
      <div class="actions"><button class="primary" @click=${() => print()}>Print</button><button @click=${() => this.#close()}>Close</button></div>
      <h1>${title}</h1>${this.#prose(prose)}
      ${lessons.map((lesson) => this.#lesson(lesson))}
      ${glossary.length ? html`<section class="lesson"><h2>Glossary</h2>${glossary.map((term) => html`<h3>${term.title}</h3>${this.#prose(term.prose)}`)}</section>` : nothing}
    </main>`;
  }

  #lesson({ title, about, prose, steps }: Lesson) {
    return html`<section class="lesson"><h2>${title}</h2><p class="muted">${about}</p>${this.#prose(prose)}
      ${steps.map((step, index) => this.#step(step, index))}</section>`;
  }

  #step({ title, prose, command, question, hints, exercise }: Step, index: number) {
    return html`<h3>${index + 1}. ${title}</h3>${this.#prose(prose)}
      ${question ? html`<p><strong>${question.text}</strong></p><ul class="boxes">${question.options.map(({ text }) => html`<li>☐ ${text}</li>`)}</ul>` : nothing}
      ${command ? html`<code class="command">${command.text.replaceAll('{dir}', DIRECTORY)}</code>` : nothing}
      ${exercise ? html`<ul class="boxes">${exercise.goals.map(({ text }) => html`<li>☐ ${text}</li>`)}</ul><pre class="code">${exercise.code}</pre>` : nothing}
      ${hints.map((hint, n) => html`<p class="muted">Hint ${n + 1}</p>${this.#prose(hint)}`)}`;
  }

  #prose(prose: Parameters<typeof renderProse>[0]) {
    return renderProse(prose, { onTerm: () => {} });
  }

  #close(): void {
    document.querySelector('style[data-printable]')?.remove();
    this.remove();
  }
}

customElements.define('vm-printable', Printable);

export function showPrintable(course: Course): void {
  const style = document.createElement('style');
  style.dataset['printable'] = '';
  style.textContent = ALONE;
  document.head.append(style);
  const page = document.createElement('vm-printable') as Printable;
  page.course = course;
  document.body.append(page);
}
