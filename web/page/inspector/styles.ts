import { css } from 'lit';

/** What the inspector's views have in common. */
export const viewStyles = css`
  :host { display: flex; flex-direction: column; flex: 1; min-height: 0; container-type: inline-size; font-size: 13px; }
  .scroll { flex: 1; min-height: 0; overflow: auto; outline-offset: -2px; }
  section { padding: 10px 12px; }
  section + section { border-top: 1px solid var(--border); }
  h2 { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 8px; margin: 0 0 8px; font-size: 13px; font-weight: 650; }
  h2 .muted { font-weight: 400; font-size: 12px; }
  p { margin: 0; }
  a.spec { color: inherit; text-decoration: underline dotted; text-underline-offset: 3px; }
  a.spec:hover { color: var(--accent); text-decoration-style: solid; }
  button.glossary { display: inline-grid; place-items: center; width: 16px; min-height: 16px; margin-left: 4px; padding: 0; border-radius: 50%; font-size: 11px; line-height: 1; color: var(--muted); vertical-align: 1px; }
  button.glossary::before { content: '?'; }
  @media (pointer: coarse) { button.glossary { width: 24px; min-height: 24px; } }
  .wide { overflow-x: auto; outline-offset: -2px; }
  table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th { padding: 2px 10px 4px 0; text-align: left; font-size: 12px; font-weight: 500; color: var(--muted); white-space: nowrap; }
  td { padding: 3px 10px 3px 0; border-top: 1px solid var(--border); white-space: nowrap; }
  td.path { white-space: normal; overflow-wrap: anywhere; }
  th.number, td.number { text-align: right; }
  th:last-child, td:last-child { padding-right: 0; }
  .chips { display: flex; flex-wrap: wrap; gap: 6px; margin: 0; padding: 0; list-style: none; }
  .chip { display: inline-flex; align-items: center; gap: 4px; padding: 1px 8px; border: 1px solid var(--border); border-radius: 999px; font-size: 12px; white-space: nowrap; color: var(--muted); background: var(--surface); }
  .chip[data-on] { border-color: var(--accent); background: var(--accent-soft); color: var(--text); }
  .facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 12px; margin: 0; }
  .facts dt { color: var(--muted); }
  .facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
  .bad { color: var(--bad); }
  .warn { color: var(--warn); }
  .segments { display: flex; flex-wrap: wrap; gap: 6px; }
`;
