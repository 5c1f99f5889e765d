import { css, html, nothing } from 'lit';
import { formatBytes } from '../../protocol/format.ts';

/** Of content that has to be fetched, or is packed: bytes that are here, of how many. */
export interface Fetched {
  bytes: number;
  size: number;
}

export function fetching({ bytes, size }: Fetched, what: 'Fetching' | 'Downloading', onCancel?: () => void) {
  return html`<div class="under-way"><span role="status">${what} ${formatBytes(bytes)} of ${formatBytes(size)}</span>
    <progress max=${size} value=${bytes} aria-label=${what}></progress>${onCancel ? html`<button @click=${onCancel}>Cancel</button>` : nothing}</div>`;
}

/** For what is under way. */
export const fetchedStyles = css`
  .under-way { display: flex; align-items: center; gap: 8px; padding: 6px 10px; border-top: 1px solid var(--border); }
  .under-way progress { flex: 1; min-width: 40px; }
`;
