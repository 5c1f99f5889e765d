import { css, html, LitElement, nothing } from 'lit';
import { Connection } from './connection.ts';
import { icon } from './icons.ts';
import { startScreen, startStyles } from './start-screen.ts';
import { controls, tokens } from './styles.ts';
import './terminals.ts';

/**
 * A Linux guest in v86 with a shared folder, all of it in one element. `src` is the directory of
 * `guest.json`, relative to the document; default: `guest/`.
 */
export class VirtiofsVm extends LitElement {
  static override properties = { src: {}, theme: { reflect: true }, version: { state: true } };
  static override styles = [tokens, controls, startStyles, css`
    :host { display: flex; flex-direction: column; height: 100%; min-height: 0; background: var(--bg); color: var(--text); font: 14px/1.45 var(--sans); }
    :host([theme='light']) { color-scheme: light; }
    :host([theme='dark']) { color-scheme: dark; }
    header { display: flex; align-items: center; gap: 10px; padding: 8px 14px; background: var(--surface); border-bottom: 1px solid var(--border); }
    h1 { margin: 0; font-size: 15px; font-weight: 650; letter-spacing: -.01em; white-space: nowrap; }
    h1 .icon { color: var(--accent); vertical-align: -3px; width: 18px; height: 18px; }
    header .space { flex: 1; }
    .state { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
    .state::before { content: ''; display: inline-block; width: 8px; height: 8px; margin-right: 6px; border-radius: 50%; background: var(--good); }
    main { flex: 1; min-height: 0; display: flex; gap: 10px; padding: 10px; }
    vm-terminals { flex: 1; border: 1px solid var(--border); border-radius: var(--radius); overflow: hidden; box-shadow: var(--shadow); }
    .problems { display: grid; gap: 6px; padding: 8px 10px 0; }
    .problem { display: flex; align-items: center; gap: 8px; padding: 6px 6px 6px 12px; border: 1px solid var(--bad); border-radius: 6px; background: var(--bad-soft); }
    .problem span { flex: 1; overflow-wrap: anywhere; }
    @media (max-width: 760px) { main { padding: 0; } vm-terminals { border: 0; border-radius: 0; } .state { display: none; } }
  `];

  declare src: string | undefined;
  declare theme: string | undefined;
  declare version: number;
  #connection: Connection | undefined;

  constructor() {
    super();
    this.version = 0;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const connection = new Connection();
    connection.addEventListener('change', () => this.version++);
    this.#connection = connection;
    const base = new URL(this.src ?? 'guest/', document.baseURI);
    void connection.start({ base: base.href }).then(async () => {
      const guest = connection.guests[0];
      if (guest && !guest.shells.length) await connection.attempt(connection.openShell(guest));
      await this.updateComplete;
      this.renderRoot.querySelector<HTMLElement>('vm-terminals')?.focus();
    });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#connection?.stop();
    this.#connection = undefined;
  }

  override render() {
    const connection = this.#connection;
    if (!connection) return nothing;
    const { guests, progress, problems, startTime } = connection;
    return html`
      <header>
        <h1>${icon('device')} virtio-fs in v86</h1>
        ${startTime === undefined ? nothing : html`<span class="state muted">running, up in ${(startTime / 1000).toFixed(1)} s</span>`}
        <span class="space"></span>
        <button class="plain icon" aria-label="Light or dark" title="Light or dark" @click=${() => this.#toggleTheme()}>${icon('theme')}</button>
      </header>
      <div class="problems" role="alert" ?hidden=${!problems.length}>
        ${problems.map((message, index) => html`<div class="problem"><span>${message}</span>
          <button class="plain icon" aria-label="Dismiss" @click=${() => connection.dismissProblem(index)}>${icon('close')}</button></div>`)}
      </div>
      <main>
        ${progress ? startScreen(progress) : nothing}
        ${guests.map((guest) => html`<vm-terminals .connection=${connection} .guest=${guest} .version=${this.version}></vm-terminals>`)}
      </main>`;
  }

  #toggleTheme(): void {
    const isDark = this.theme ? this.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    this.theme = isDark ? 'light' : 'dark';
  }
}

customElements.define('virtiofs-vm', VirtiofsVm);
