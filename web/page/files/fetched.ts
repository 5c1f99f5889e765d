import { css, html } from 'lit';
import { formatBytes } from '../../protocol/format.ts';

/** Of content that has to be fetched: bytes that are here, of how many. */
export interface Fetched {
  bytes: number;
  size: number;
}

export function fetching({ bytes, size }: Fetched) {
  return html`<div class="under-way" role="status">Fetching ${formatBytes(bytes)} of ${formatBytes(size)}
    <progress max=${size} value=${bytes} aria-label="Fetching"></progress></div>`;
}

/** For what is under way. */
export const fetchedStyles = css`
  .under-way { padding: 6px 10px; border-top: 1px solid var(--border); }
  .under-way progress { width: 100%; }
`;
