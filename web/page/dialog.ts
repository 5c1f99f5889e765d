import { css, html, nothing, render, type TemplateResult } from 'lit';
import { printable } from '../../harness/machine/printable.ts';
import { called } from '../protocol/format.ts';
import type { KeepResult } from '../protocol.ts';

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
export async function ask(
  root: ShadowRoot,
  { title, text, action, isDangerous, input }: Question,
): Promise<string | undefined> {
  const answer = await show(
    root,
    html`
    ${heading(title, text)}
    ${input ? html`<label>${input.label}<input name="text" required autocomplete="off" spellcheck="false" .value=${input.value}></label>` : nothing}
    <div class="buttons">${cancel}<button type="submit" value="action" class=${isDangerous ? 'danger' : 'primary'}>${action}</button></div>`,
  );
  return answer?.text;
}

/** Lets the visitor choose: settles with a key of `choices`, whose last one is the likely one, or undefined. */
export async function choose<C extends string>(
  root: ShadowRoot,
  { title, text, choices }: { title: string; text?: string; choices: Record<C, string> },
): Promise<C | undefined> {
  const all = Object.entries<string>(choices);
  const answer = await show(
    root,
    html`
    ${heading(title, text)}
    <div class="buttons">${cancel}${all.map(([value, label], n) => html`<button type="submit" value=${value} class=${n === all.length - 1 ? 'primary' : ''} ?autofocus=${n === all.length - 1}>${label}</button>`)}</div>`,
  );
  return answer?.value as C | undefined;
}

/**
 * Does what leaves the present moment of a guest behind, and asks where that can't be kept: `action` is given whether it has to be. Settles
 * with whether it was done.
 */
export async function leaveMoment(
  root: ShadowRoot,
  { what, guest, action }: { what: string; guest: string; action: (keep: boolean) => Promise<KeepResult> },
): Promise<boolean> {
  const { isDone, reason } = await action(true);
  if (isDone) return true;
  const answer = await choose(root, {
    title: `${what} without a snapshot of the present?`,
    text: `No snapshot of ${called(guest)} could be taken: ${reason}. Whatever has happened since the last one will be lost.`,
    choices: { anyway: `${what} anyway` },
  });
  return answer !== undefined && (await action(false)).isDone;
}

const heading = (title: string, text?: string) =>
  html`<h2 id="dialog-title">${printable(title)}</h2>${text ? html`<p>${printable(text)}</p>` : nothing}`;
const cancel = html`<button type="button" @click=${(event: Event) => (event.currentTarget as HTMLElement).closest('dialog')!.close()}>Cancel</button>`;

/** Settles when the dialog is gone, and the focus is back where it was. */
function show(root: ShadowRoot, content: TemplateResult): Promise<{ value: string; text: string } | undefined> {
  const before = root.activeElement;
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'dialog-title');
  render(html`<form method="dialog">${content}</form>`, dialog);
  root.append(dialog);
  dialog.showModal();
  const field = dialog.querySelector('input');
  field?.select();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (before instanceof HTMLElement) before.focus();
      resolve(dialog.returnValue ? { value: dialog.returnValue, text: field?.value ?? '' } : undefined);
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
