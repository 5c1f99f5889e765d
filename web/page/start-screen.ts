import { css, html, nothing, type TemplateResult } from 'lit';
import { printableConsole } from '../../harness/machine/printable.ts';
import type { Progress } from '../protocol.ts';

const STEPS: Record<Progress['what'], string> = {
  emulator: 'Loading the emulator',
  download: 'Fetching the guest',
  snapshot: 'Unpacking its memory',
  root: 'Opening its root filesystem',
  guest: 'Resuming the guest',
  move: 'Taking the machine over',
  kernel: 'Fetching the kernel',
  boot: 'Booting Linux, which takes a few seconds',
};

/** What a guest's console says while it boots, for who wants to see it; nothing where it has said nothing. */
export function bootLog(lines: readonly string[] = []): TemplateResult | typeof nothing {
  if (!lines.length) return nothing;
  return html`<details class="log"><summary>Boot log</summary><div tabindex="0" role="region" aria-label="Boot log"><pre>${lines.map((line) => `${printableConsole(line)}\n`)}</pre></div></details>`;
}

/** What the visitor sees until the guest answers. `console`: what that has said so far. */
export function startScreen(
  { what, loaded = 0, total = 0, isBroken = false }: Progress,
  console: readonly string[] = [],
): TemplateResult {
  const isCounted = total > 0;
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  return html`<div class="start" role="status" aria-live="polite">
    <p class="what">${STEPS[what]}</p>
    ${
      isCounted
        ? html`<progress max=${total} value=${loaded} aria-label=${STEPS[what]}></progress>`
        : html`<progress aria-label=${STEPS[what]}></progress>`
    }
    <p class="muted">${isCounted ? html`${megabytes(loaded)} of ${megabytes(total)} MB` : nothing}&nbsp;</p>
    ${isBroken ? html`<p>The network connection broke. Trying again …</p>` : nothing}
    ${bootLog(console)}
  </div>`;
}

/** What the visitor sees when the start has failed; the reason is shown elsewhere. */
export function failedScreen(onRetry: () => void): TemplateResult {
  return html`<div class="start"><p class="what">The guest could not be started.</p><button @click=${onRetry}>Try again</button></div>`;
}

/** The end of the log stays in sight. */
export const bootLogStyles = css`
  .log { width: min(76ch, 92vw); max-width: 100%; text-align: left; }
  .log summary { text-align: center; cursor: pointer; padding: 6px; }
  .log div { display: flex; flex-direction: column-reverse; max-height: 38vh; overflow: auto; padding: 8px 10px; border-radius: 6px; background: var(--terminal); color: #d6dde6; }
  .log pre { margin: 0; font: 12px/1.4 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; }
`;

export const startStyles = css`
  .start { margin: auto; width: min(340px, 80%); text-align: center; }
  .start .what { font-size: 1.1rem; margin: 0 0 12px; }
  .start progress { width: 100%; height: 8px; appearance: none; border: 0; border-radius: 4px; background: var(--border); overflow: hidden; }
  .start progress::-webkit-progress-bar { background: var(--border); border-radius: 4px; }
  .start progress::-webkit-progress-value { background: var(--accent); border-radius: 4px; transition: width .15s; }
  .start progress::-moz-progress-bar { background: var(--accent); border-radius: 4px; }
`;
