import { css, html, nothing, type TemplateResult } from 'lit';
import type { Progress } from '../protocol.ts';

const STEPS: Record<Progress['what'], string> = {
  emulator: 'Loading the emulator',
  download: 'Fetching the guest',
  snapshot: 'Unpacking its memory',
  guest: 'Waking the guest',
  move: 'Taking the machine over',
  kernel: 'Fetching the kernel',
  boot: 'Booting Linux, which takes some seconds',
};

/** What the visitor sees until the guest answers. */
export function startScreen({ what, loaded = 0, total = 0, isBroken = false }: Progress): TemplateResult {
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
    ${isBroken ? html`<p>The network broke. Trying again …</p>` : nothing}
  </div>`;
}

/** What the visitor sees when the start has failed; the reason is shown elsewhere. */
export function failedScreen(onRetry: () => void): TemplateResult {
  return html`<div class="start"><p class="what">There is no guest.</p><button @click=${onRetry}>Try again</button></div>`;
}

export const startStyles = css`
  .start { margin: auto; width: min(340px, 80%); text-align: center; }
  .start .what { font-size: 1.1rem; margin: 0 0 12px; }
  .start progress { width: 100%; height: 8px; appearance: none; border: 0; border-radius: 4px; background: var(--border); overflow: hidden; }
  .start progress::-webkit-progress-bar { background: var(--border); border-radius: 4px; }
  .start progress::-webkit-progress-value { background: var(--accent); border-radius: 4px; transition: width .15s; }
  .start progress::-moz-progress-bar { background: var(--accent); border-radius: 4px; }
`;
