import { css } from 'lit';

export const timelineStyles = css`
  :host { display: flex; flex-direction: column; min-height: 0; container-type: inline-size; --line: color-mix(in srgb, var(--muted) 60%, var(--border)); }
  .toolbar label { display: inline-flex; align-items: center; gap: 6px; }
  .toolbar input[name=name] { width: 9em; }
  .toolbar input[type=search] { flex: 1 1 7em; min-width: 6em; }
  .scroll { flex: 1; min-height: 0; overflow: auto; display: flex; flex-direction: column; }
  .list { flex: 1 0 auto; margin: 0; padding: 6px 0; list-style: none; outline-offset: -3px; }
  .list[data-drop] { outline: 2px dashed var(--accent); background: var(--accent-soft); }
  li { display: grid; grid-template-columns: var(--graph) minmax(0, 1fr) auto; gap: 0 8px; padding: 0 10px 0 8px; }
  li[data-kind=now] { background: var(--accent-soft); }
  li[data-kind=now] .graph b { background: var(--accent); border-color: var(--accent); }
  li[data-here] .graph b, li[data-kind=manual] .graph b, li[data-kind=start] .graph b { border-color: var(--accent); }
  .graph { grid-row: 1 / 3; }
  .text { padding: 6px 0; min-width: 0; }
  .what { display: flex; align-items: baseline; gap: 6px; min-width: 0; white-space: nowrap; }
  .name { font-weight: 600; overflow: hidden; text-overflow: ellipsis; }
  .badge { padding: 0 6px; border: 1px solid var(--border); border-radius: 999px; font-size: 11.5px; color: var(--muted); }
  .facts { display: block; color: var(--muted); font-size: 12.5px; }
  .facts.warn { color: var(--warn); }
  .actions { display: flex; align-items: start; padding-top: 4px; }
  .further { grid-column: 2 / 4; grid-row: 2; display: flex; flex-wrap: wrap; gap: 4px; padding: 0 0 8px; }
  .further button { min-height: 28px; padding: 2px 8px; font-size: 12.5px; }
  .tasks { padding: 8px 12px; border-top: 1px solid var(--border); font-size: 12.5px; }
  .tasks > div { display: grid; grid-template-columns: minmax(0, 1fr) 40%; gap: 8px; align-items: center; padding: 2px 0; }
  .tasks span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  progress { width: 100%; height: 6px; accent-color: var(--accent); }
  .note { padding: 8px 12px; margin: 0; font-size: 12.5px; color: var(--muted); border-top: 1px solid var(--border); display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
  .note > span { flex: 1 1 60%; }
  .note .link { order: 1; flex-basis: 100%; overflow-wrap: anywhere; font-family: var(--mono); user-select: all; }
  .note.warn { color: var(--warn); }
  .note details { flex: 1; }
  .note:has(details) > span, details[open] { flex-basis: 100%; }
  summary { cursor: pointer; width: max-content; }
  details p { margin: 4px 0 0; }
  @container (max-width: 420px) {
    .what { flex-wrap: wrap; row-gap: 0; }
  }
`;
