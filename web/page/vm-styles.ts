import { css } from 'lit';

/** How the parts of the element lie beside each other. */
export const vmStyles = css`
    :host { display: flex; flex-direction: column; container-type: inline-size; height: 100%; min-height: min(320px, 100dvh); background: var(--bg); color: var(--text); font: 14px/1.45 var(--sans); }
    :host([theme='light']) { color-scheme: light; }
    :host([theme='dark']) { color-scheme: dark; }
    header { display: flex; align-items: center; gap: 10px; padding: 8px 14px; background: var(--surface); border-bottom: 1px solid var(--border); }
    h1 { min-width: 0; margin: 0; overflow: hidden; text-overflow: ellipsis; font-size: 15px; font-weight: 650; letter-spacing: -.01em; white-space: nowrap; }
    h1 .icon { color: var(--accent); vertical-align: -3px; width: 18px; height: 18px; }
    header .space { flex: 1; }
    header > :is(button, select) { flex: none; }
    vm-status { display: flex; gap: 12px; min-width: 0; }
    .state, .memory { min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
    .memory, .offline { flex: none; }
    .state::before { content: ''; display: inline-block; width: 8px; height: 8px; margin-right: 6px; border-radius: 50%; background: var(--muted); }
    .state[data-tone=good]::before { background: var(--good); }
    .state[data-tone=busy]::before { background: var(--warn); }
    .state[data-tone=bad]::before { background: var(--bad); }
    main { flex: 1; min-height: 0; display: grid; grid-template-columns: minmax(0, 1.35fr) minmax(380px, 1fr); gap: 10px; padding: 10px; }
    main[data-alone] { grid-template-columns: minmax(0, 1fr); padding: 0; }
    .start { grid-column: 1 / -1; }
    main[data-lesson] { grid-template-rows: minmax(0, 1fr) minmax(0, 1.15fr); }
    main[data-lesson] .side { grid-row: 1 / 3; grid-column: 2; }
    main:has(vm-lesson[data-small]) { grid-template-rows: minmax(0, 1fr) auto; }
    vm-lesson { min-width: 0; border: 1px solid var(--border); border-radius: var(--radius); overflow: hidden; box-shadow: var(--shadow); }
    .guests { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 10px; min-width: 0; min-height: 0; position: relative; }
    vm-welcome { position: absolute; inset: auto 12px 12px; z-index: 5; max-height: 48%; overflow: auto; }
    vm-terminals, .side { border: 1px solid var(--border); border-radius: var(--radius); overflow: hidden; box-shadow: var(--shadow); }
    .side { display: flex; flex-direction: column; min-width: 0; min-height: 0; background: var(--surface); }
    .side > .tabs { padding: 2px 6px 0; border-bottom: 1px solid var(--border); flex: none; }
    .panel { flex: 1; min-height: 0; }
    .about { margin: 0; padding: 8px 12px 0; font-weight: 600; }
    .about .muted { font-weight: 400; }
    vm-terminals[data-active] { border-color: var(--accent); }
    vm-terminals .name { padding: 0 6px; font-weight: 600; white-space: nowrap; }
    nav { display: none; }
    .problems { display: grid; gap: 6px; padding: 8px 10px 0; }
    .problem { display: flex; align-items: center; gap: 8px; padding: 6px 6px 6px 12px; border: 1px solid var(--bad); border-radius: 6px; background: var(--bad-soft); }
    .problem span { flex: 1; overflow-wrap: anywhere; }
    .held { display: flex; align-items: center; justify-content: center; gap: 10px; padding: 4px 12px; background: var(--accent-soft); border-bottom: 1px solid var(--border); font-size: 13px; }
    @container (max-width: 760px) {
      main { grid-template-columns: minmax(0, 1fr); padding: 0; }
      .guests, .side, main[data-lesson] .side { grid-area: 1 / 1; }
      vm-lesson { grid-area: 2 / 1; border: 0; border-top: 2px solid var(--accent); border-radius: 0; }
      .guests { grid-auto-flow: row; grid-auto-rows: minmax(0, 1fr); }
      vm-terminals, .side { border: 0; border-radius: 0; box-shadow: none; }
      main[data-view='terminal'] .side, main:not([data-view='terminal']) .guests, .side > .tabs { display: none; }
      nav { display: flex; border-top: 1px solid var(--border); background: var(--surface); padding-bottom: env(safe-area-inset-bottom); }
      nav button { flex: 1; flex-direction: column; gap: 2px; padding: 6px 2px; border: 0; border-radius: 0; background: none; font-size: 11px; color: var(--muted); }
      nav button[aria-current='true'] { color: var(--accent); }
      header { flex-wrap: wrap; gap: 2px 6px; padding-inline: 10px; }
      vm-status { order: 1; flex-basis: 100%; font-size: 12px; }
    }
  `;
