import { css } from 'lit';

/** Colours, sizes and controls that every part of the page has in common. */
export const tokens = css`
  :host {
    color-scheme: light dark;
    --bg: light-dark(#eef1f5, #0b0e13);
    --surface: light-dark(#ffffff, #141920);
    --raised: light-dark(#f6f8fa, #1b212a);
    --hover: light-dark(#e9edf3, #232b36);
    --border: light-dark(#d3dae3, #2b3441);
    --text: light-dark(#18202b, #e5ebf3);
    --muted: light-dark(#4d5968, #9ba8b8);
    --accent: light-dark(#0b5fd0, #6cb0ff);
    --on-accent: light-dark(#ffffff, #06182c);
    --accent-soft: light-dark(#dfeafc, #17304d);
    --good: light-dark(#1a7347, #5fd39b);
    --warn: light-dark(#8a5200, #f0b45a);
    --bad: light-dark(#b42318, #ff8a80);
    --bad-soft: light-dark(#fdeceb, #3a1917);
    --terminal: #0d1117;
    --radius: 8px;
    --shadow: 0 1px 2px rgb(0 0 0 / 8%), 0 8px 24px rgb(0 0 0 / 10%);
    --mono: ui-monospace, 'SFMono-Regular', 'Cascadia Mono', 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
    --sans: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif;
  }
`;

export const controls = css`
  *, ::before, ::after { box-sizing: border-box; }
  [hidden] { display: none !important; }
  button, input, select, textarea { font: inherit; color: inherit; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
  button {
    display: inline-flex; align-items: center; justify-content: center; gap: 6px;
    min-height: 30px; padding: 4px 10px;
    border: 1px solid var(--border); border-radius: 6px; background: var(--surface);
    cursor: pointer; white-space: nowrap;
  }
  button:hover:not(:disabled) { background: var(--hover); }
  button:disabled { opacity: .5; cursor: default; }
  button.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
  button.primary:hover:not(:disabled) { background: color-mix(in srgb, var(--accent) 88%, var(--text)); }
  button.plain { border-color: transparent; background: none; }
  button.plain:hover:not(:disabled) { background: var(--hover); }
  button.icon { width: 30px; padding: 0; }
  button.danger { color: var(--bad); }
  button[aria-pressed='true'] { background: var(--accent-soft); border-color: var(--accent); }
  input, select, textarea { border: 1px solid var(--border); border-radius: 6px; background: var(--surface); padding: 4px 8px; min-height: 30px; }
  input::placeholder { color: var(--muted); opacity: 1; }
  svg.icon { width: 16px; height: 16px; flex: none; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
  .muted { color: var(--muted); }
  .mono { font-family: var(--mono); font-size: .92em; }
  .visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  .toolbar { display: flex; align-items: center; gap: 6px; flex-wrap: wrap; padding: 8px 10px; border-bottom: 1px solid var(--border); }
  .toolbar .space { flex: 1; }
  .empty { padding: 24px; text-align: center; color: var(--muted); }
  @media (prefers-reduced-motion: reduce) { *, ::before, ::after { transition: none !important; animation: none !important; } }
  /* Also those that are small for a mouse; but not what stands in a line of text. */
  @media (pointer: coarse) {
    button:not(.term, .pointer, .glossary), input:not([type=checkbox]), select, label:has(> [type=checkbox]), summary { min-height: 44px !important; align-content: center; }
    button:not(.term, .pointer, .glossary) { min-width: 44px; }
  }
`;
