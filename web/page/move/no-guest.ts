import { css, html, type TemplateResult } from 'lit';
import type { Connection } from '../../embed/connection.ts';
import { startOver } from '../../embed/links.ts';
import { calledFirst } from '../../protocol/format.ts';

/** What a page without a guest shows. */
export function noGuest({ departed }: Connection): TemplateResult {
  const takeOver = (event: SubmitEvent) => {
    event.preventDefault();
    startOver(String(new FormData(event.currentTarget as HTMLFormElement).get('address')));
  };
  return html`<section class="no-guest" aria-label="No guest">
    <h2 role="status">${departed ? `${calledFirst(departed.name)} runs ${departed.place} now` : 'No guest runs here'}</h2>
    ${departed ? html`<p class="muted">It has moved there with its files, shells and locks, and no longer runs in this tab.</p>` : ''}
    <form @submit=${takeOver}>
      <label><span>From Node: the address that <span class="mono">v86-virtiofs migrate --to ws:PORT</span> or <span class="mono">serve --to ws:PORT</span> prints</span>
        <input name="address" required placeholder="ws://localhost:7000#…" autocomplete="off" spellcheck="false"></label>
      <div class="buttons"><button>Take over</button><button type="button" class="primary" @click=${() => startOver()}>New guest</button></div>
    </form>
  </section>`;
}

export const noGuestStyles = css`
  .no-guest { grid-column: 1 / -1; margin: auto; width: min(480px, calc(100% - 32px)); }
  .no-guest h2 { margin: 0 0 8px; font-size: 18px; }
  .no-guest label { display: grid; gap: 4px; margin: 16px 0; }
  .no-guest .buttons { display: flex; justify-content: flex-end; gap: 8px; }
`;
