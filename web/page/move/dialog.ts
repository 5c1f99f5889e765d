import { css, html, LitElement, nothing } from 'lit';
import { makeToken } from '../../../device/migration/token.ts';
import type { Connection, GuestView } from '../../embed/connection.ts';
import { linkTo } from '../../embed/links.ts';
import { called, calledFirst, formatBytes } from '../../protocol/format.ts';
import { dialogStyles } from '../dialog.ts';
import { Drafts } from '../files/drafts.ts';
import { icon } from '../icons.ts';
import { controls } from '../styles.ts';

/** A button, and the dialog behind it: a guest moves to another tab or to Node, or one comes from there. */
export class MoveDialog extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    version: { attribute: false },
    code: { state: true },
    failure: { state: true },
    isCopied: { state: true },
  };
  static override styles = [
    controls,
    dialogStyles,
    css`
    dialog { width: min(560px, calc(100vw - 32px)); }
    section { padding: 12px 0; border-top: 1px solid var(--border); }
    h3 { margin: 0 0 6px; font-size: 14px; }
    form { display: flex; gap: 8px; }
    input { flex: 1; min-width: 0; }
    .failure { color: var(--bad); }
    a { color: var(--accent); }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare version: number;
  /** Another tab that has it gets the guest, as long as the dialog is open. */
  declare code: string;
  declare failure: string;
  declare isCopied: boolean;

  constructor() {
    super();
    this.code = '';
    this.failure = '';
    this.isCopied = false;
  }

  override render() {
    const { guest } = this;
    return html`
      <button class="plain icon" aria-label=${`Move ${called(guest.name)}`} title=${`Move ${called(guest.name)}`} @click=${this.#open}>${icon('move')}</button>
      <dialog aria-labelledby="title" @close=${this.#onClose}>
        <h2 id="title">Move ${called(guest.name)}</h2>
        <p>It keeps running while it moves, with its files, shells and locks. Until it runs there, it runs here.</p>
        <div ?hidden=${this.#isMoving}>${this.#renderPlaces()}</div>
        ${this.#isMoving ? this.#renderProgress() : nothing}
        ${this.failure ? html`<p class="failure" role="alert">${this.failure}</p>` : nothing}
        <div class="buttons"><button @click=${() => this.#dialog.close()}>${this.#isMoving ? 'Cancel' : 'Close'}</button></div>
      </dialog>`;
  }

  /** Why the guest can't leave; '' where it can. */
  get #obstacle(): string {
    if (!isSecureContext) return 'Browsers move guests for pages from https or localhost only.';
    const { guest, connection } = this;
    const unsaved = Drafts.of(guest).paths;
    if (unsaved.length) return `${unsaved.join(', ')}: what you wrote there is not saved. Save or discard it first.`;
    const others = connection.guests
      .filter((other) => other !== guest && other.folder === guest.folder)
      .map(({ name }) => name);
    return others.length
      ? `${others.map(calledFirst).join(', ')} has the same folder, which would change under it. Close it first: then ${called(guest.name)} can move.`
      : '';
  }

  #renderPlaces() {
    return html`
      ${this.#obstacle ? html`<section><p>${this.#obstacle}</p></section>` : this.#renderWaysOut()}
      <section>
        <h3>From Node</h3>
        <p>Start <span class="mono">v86-virtiofs migrate SNAPSHOT --to ws:7000</span>, and paste the address it prints.</p>
        <form @submit=${this.#takeOver}><input name="address" required aria-label="Where a guest comes from" placeholder="ws://localhost:7000#…" autocomplete="off" spellcheck="false"><button>Take over</button></form>
      </section>`;
  }

  #renderWaysOut() {
    const { name } = this.guest;
    return html`
      <section>
        <h3>To another tab</h3>
        <p><a href=${linkTo(this.code)} target="_blank" rel="noopener">Open this link</a> in a tab or window of this browser. It works once, while this is open.</p>
        <form @submit=${this.#copy}><input readonly aria-label="Link for the other tab" .value=${linkTo(this.code)}><button>${this.isCopied ? 'Copied' : 'Copy'}</button></form>
      </section>
      <section>
        <h3>To Node</h3>
        <p>Start <span class="mono">v86-virtiofs serve --incoming ws:7000</span>, and paste the address it prints.</p>
        <form @submit=${this.#moveToAddress}><input name="address" required aria-label=${`Where ${called(name)} moves to`} placeholder="ws://localhost:7000#…" autocomplete="off" spellcheck="false"><button>Move there</button></form>
      </section>`;
  }

  #renderProgress() {
    const { round, bytes } = this.connection.move!;
    return html`<p role="status">On its way${round ? `, round ${round}` : ''}, ${formatBytes(bytes)} sent</p><progress aria-label="On its way"></progress>`;
  }

  get #isMoving(): boolean {
    return this.connection.move !== undefined;
  }

  get #dialog(): HTMLDialogElement {
    return this.renderRoot.querySelector('dialog')!;
  }

  readonly #open = (): void => {
    this.failure = '';
    this.#offer();
    this.#dialog.showModal();
  };

  /** Waits for another tab. */
  #offer(): void {
    if (this.#obstacle) return;
    const code = makeToken();
    this.code = code;
    this.isCopied = false;
    void this.#attempt(
      this.connection.moveOut(this.guest, this.connection.worker.moves.toTab(this.guest.id, code), 'in another tab'),
    );
  }

  readonly #moveToAddress = (event: SubmitEvent): void => {
    const address = this.#addressIn(event);
    void this.#attempt(
      this.connection.moveOut(
        this.guest,
        this.connection.worker.moves.toAddress(this.guest.id, address),
        `at ${address.split('#')[0]!}`,
      ),
    );
  };

  readonly #takeOver = (event: SubmitEvent): void => {
    void this.#attempt(this.connection.takeOver(this.#addressIn(event)));
  };

  /** What was pasted, of which something comes now: the link for another tab does not work any more, then. */
  #addressIn(event: SubmitEvent): string {
    event.preventDefault();
    this.code = '';
    this.failure = '';
    return String(new FormData(event.currentTarget as HTMLFormElement).get('address'));
  }

  /** When nothing came of it, another tab is waited for again. */
  async #attempt(action: Promise<unknown>): Promise<void> {
    const { code } = this;
    try {
      await action;
      this.#dialog.close();
    } catch (error) {
      if (!this.#dialog.open || this.code !== code) return;
      this.failure = (error as Error).message;
      this.#offer();
    }
  }

  readonly #copy = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const field = (event.currentTarget as HTMLFormElement).querySelector('input')!;
    try {
      await navigator.clipboard.writeText(field.value);
      this.isCopied = true;
    } catch {
      // Not every page may: then the visitor does it.
      field.select();
    }
  };

  readonly #onClose = (): void => {
    this.code = '';
    void this.connection.worker.moves.cancel();
  };
}

customElements.define('vm-move', MoveDialog);
