import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';
import type { Exercise } from './course-format.ts';
import { inline, type ProseOptions } from './prose.ts';
import type { LessonRun } from './run.ts';
import { proseStyles } from './styles.ts';

/** Lines of a program that are shown without scrolling. */
const ROWS = 14;

/** A program for a bare device: written, run, and looked at. Dispatches `look` when it has run. */
export class ExerciseView extends LitElement {
  static override properties = {
    run: { attribute: false },
    exercise: { attribute: false },
    options: { attribute: false },
    version: { attribute: false },
    isAsking: { state: true },
  };
  static override styles = [
    controls,
    proseStyles,
    css`
    :host { display: block; margin-top: 8px; }
    textarea { display: block; width: 100%; resize: vertical; padding: 8px 10px; background: var(--raised); font-family: var(--mono); font-size: 12.5px; line-height: 1.5; tab-size: 2; white-space: pre; overflow: auto; }
    .actions { display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0; align-items: center; }
    .goals { list-style: none; margin: 8px 0; padding: 0; display: grid; gap: 3px; }
    .goals li { display: grid; grid-template-columns: 20px minmax(0, 1fr); color: var(--muted); }
    .goals li[data-done] { color: var(--good); }
    pre { margin: 8px 0; max-height: 12em; overflow: auto; padding: 6px 10px; border-radius: 6px; background: var(--terminal); color: #d7dee8; font-family: var(--mono); font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
    .bad { color: var(--bad); overflow-wrap: anywhere; }
  `,
  ];

  declare run: LessonRun;
  declare exercise: Exercise;
  declare options: ProseOptions;
  declare version: number;
  /** Whether the solution is to replace what was written. */
  declare isAsking: boolean;

  constructor() {
    super();
    this.isAsking = false;
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has('exercise')) this.isAsking = false;
  }

  override render() {
    const { run, exercise } = this;
    const { result, isRunning, reached } = run.bench;
    return html`
      <textarea aria-label="Your driver" rows=${ROWS} spellcheck="false" autocapitalize="off" autocomplete="off" .value=${run.bench.code}
        @input=${(event: Event) => (run.bench.code = (event.target as HTMLTextAreaElement).value)}></textarea>
      <div class="actions">
        ${
          isRunning
            ? html`<button @click=${() => run.bench.stop()}>${icon('pause')} Stop</button><span class="muted">It runs</span>`
            : html`<button class="primary" @click=${this.#run}>${icon('play')} Run</button>`
        }
        ${run.solution && !this.isAsking ? html`<button @click=${() => (this.isAsking = true)}>Show a solution</button>` : nothing}
        ${
          this.isAsking
            ? html`<span>It replaces what you have written.</span><button @click=${this.#solve}>Replace it</button><button @click=${() => (this.isAsking = false)}>Keep mine</button>`
            : nothing
        }
        <button class="plain" @click=${() => run.bench.reset()}>Start over</button></div>
      <p class="muted" role="status">${run.bench.runs && !isRunning ? `Run ${run.bench.runs}: ${reached.length} of ${exercise.goals.length} goals reached` : ''}</p>
      <ul class="goals" aria-label="Goals">${exercise.goals.map(({ text }, index) => {
        const isDone = reached.includes(index);
        return html`<li ?data-done=${isDone}><span aria-hidden="true">${isDone ? '✓' : '○'}</span><span>${inline(text, this.options)}${isDone ? html`<span class="visually-hidden">, reached</span>` : nothing}</span></li>`;
      })}</ul>
      ${run.bench.failure ? html`<p class="bad" role="alert">${run.bench.failure}</p>` : nothing}
      ${result?.error ? html`<p class="bad" role="alert">${result.error}</p>` : nothing}
      ${result?.complaint ? html`<p class="bad" role="alert">The device needs a reset: ${result.complaint}. The Inspector shows what it found.</p>` : nothing}
      ${result?.output.length ? html`<pre role="region" tabindex="0" aria-label="Output">${result.output.join('\n')}</pre>` : nothing}`;
  }

  readonly #run = async (): Promise<void> => {
    await this.run.bench.run();
    this.dispatchEvent(new CustomEvent('look', { bubbles: true, composed: true }));
  };

  readonly #solve = (): void => {
    this.isAsking = false;
    this.run.bench.code = this.run.solution;
    this.requestUpdate();
  };
}

customElements.define('vm-exercise', ExerciseView);
