import { css, html, nothing, render } from 'lit';

interface Question {
  title: string;
  text?: string;
  /** What the button that goes on says. */
  action: string;
  isDangerous?: boolean;
  /** Asks for a line of text, which begins as this. */
  input?: { label: string; value: string };
}

/** Asks in a modal dialog below `root`. Settles with the text (or '' where none is asked for), or undefined when the visitor thinks better of it. */
export function ask(root: ParentNode & Node, { title, text, action, isDangerous, input }: Question): Promise<string | undefined> {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'dialog-title');
  render(html`<form method="dialog">
    <h2 id="dialog-title">${title}</h2>
    ${text ? html`<p>${text}</p>` : nothing}
    ${input ? html`<label>${input.label}<input name="text" required autocomplete="off" spellcheck="false" .value=${input.value}></label>` : nothing}
    <div class="buttons">
      <button type="button" @click=${() => dialog.close()}>Cancel</button>
      <button type="submit" value="go on" class=${isDangerous ? 'danger' : 'primary'}>${action}</button>
    </div>
  </form>`, dialog);
  root.append(dialog);
  dialog.showModal();
  const field = dialog.querySelector('input');
  field?.select();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'go on' ? (field?.value ?? '') : undefined);
    });
  });
}

export const dialogStyles = css`
  dialog { width: min(420px, calc(100vw - 32px)); padding: 20px; border: 1px solid var(--border); border-radius: 12px; background: var(--surface); color: var(--text); box-shadow: var(--shadow); }
  dialog::backdrop { background: rgb(0 0 0 / 45%); }
  dialog h2 { margin: 0 0 8px; font-size: 16px; }
  dialog p { margin: 0 0 12px; color: var(--muted); overflow-wrap: anywhere; }
  dialog label { display: grid; gap: 4px; margin-bottom: 16px; }
  dialog .buttons { display: flex; justify-content: flex-end; gap: 8px; }
`;
