import { css } from 'lit';

/** Of texts, wherever they are shown. */
export const proseStyles = css`
  p, ol, ul { margin: 4px 0; overflow-wrap: anywhere; }
  ol, ul { padding-inline-start: 20px; }
  h4 { margin: 10px 0 4px; font-size: 14px; }
  blockquote { margin: 4px 0; padding-inline-start: 10px; border-inline-start: 3px solid var(--border); color: var(--muted); }
  code { font-family: var(--mono); font-size: .92em; }
  p > code, li > code { padding: 0 4px; border-radius: 4px; background: var(--hover); }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; font-size: 13px; }
  th, td { padding: 2px 12px 2px 0; text-align: start; border-bottom: 1px solid var(--border); }
  .command, pre.code { display: block; margin: 8px 0; padding: 8px 10px; border-radius: 6px; background: var(--raised); border: 1px solid var(--border); font-family: var(--mono); font-size: 12.5px; overflow-wrap: anywhere; white-space: pre-wrap; }
  a { color: var(--accent); }
  a.spec { color: inherit; text-decoration: underline dotted; text-underline-offset: 3px; }
  button.term, button.pointer { display: inline; min-height: 0; padding: 0; border: 0; border-radius: 2px; background: none; color: inherit; font: inherit; white-space: normal; text-align: start; }
  button.term { text-decoration: underline dotted; text-underline-offset: 3px; }
  button.term:hover:not(:disabled) { background: none; color: var(--accent); text-decoration-style: solid; }
  button.pointer { padding: 0 3px; background: color-mix(in srgb, var(--warn) 18%, transparent); box-shadow: inset 0 -2px var(--warn); }
`;
