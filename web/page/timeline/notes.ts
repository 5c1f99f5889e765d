import { html, nothing, type TemplateResult } from 'lit';
import { printable } from '../../../harness/machine/printable.ts';
import { linkToSnapshot } from '../../embed/links.ts';
import { calledFirst, formatBytes } from '../../protocol/format.ts';
import { KEPT } from '../../protocol/timeline.ts';
import type { SnapshotView, TimelineView } from '../../protocol.ts';
import { icon } from '../icons.ts';
import { labelOf } from './label.ts';

type Note = TemplateResult | typeof nothing;

const dismiss = (onDismiss: () => void) =>
  html`<button class="plain icon" aria-label="Dismiss" title="Dismiss" @click=${onDismiss}>${icon('close')}</button>`;

/** Of the last rewind. Undone, it can be done again in the same way. */
export function undoNote(
  { undo, snapshots }: TimelineView,
  guest: { id: number; name: string },
  isBusy: boolean,
  onUndo: (before: SnapshotView) => void,
): Note {
  const last = undo.find((candidate) => candidate.guest === guest.id);
  const [to, before] = [last?.to, last?.before].map((id) => snapshots.find((snapshot) => snapshot.id === id));
  if (!before) return nothing;
  return html`<p class="note" role="status"><span>${calledFirst(guest.name)} was rewound to ${to ? `“${labelOf(to)}”` : 'a snapshot that was removed'}. Where it was before is kept as “${labelOf(before)}”.</span>
    <button ?disabled=${isBusy} @click=${() => onUndo(before)}>Undo</button></p>`;
}

/** Of a moment that was saved as a file for others. */
export function sharedNote(file: string, onDismiss: () => void): Note {
  return html`<div class="note" role="status"><span>“${file}” holds this very moment: anyone can drop it on this list and continue from there. Or put it beside this page on your server, and send a link:</span>
    <code class="link">${linkToSnapshot(file)}</code>${dismiss(onDismiss)}</div>`;
}

/** Of a snapshot that was imported, to go to it. */
export function importedNote(
  snapshot: SnapshotView | undefined,
  isBusy: boolean,
  on: { go: (snapshot: SnapshotView) => void; fork: (snapshot: SnapshotView) => void; dismiss: () => void },
): Note {
  if (!snapshot) return nothing;
  return html`<div class="note" role="status"><span>“${printable(labelOf(snapshot))}” was imported.</span>
    <button class="primary" ?disabled=${isBusy} @click=${() => on.go(snapshot)}>Rewind</button>
    <button ?disabled=${isBusy} @click=${() => on.fork(snapshot)}>Fork</button>${dismiss(on.dismiss)}</div>`;
}

/** What there is, and for how long it stays. `shown`: how many, where a filter lets only some through. */
export function keptNote(
  { snapshots, used, isKept }: TimelineView,
  shown: number | undefined,
  guest: { name: string },
  isBusy: boolean,
  on: { reset: () => void; clear: () => void },
): Note {
  const count = snapshots.length;
  return html`<div class="note"><span>${shown === undefined ? '' : `${shown} of `}${count} ${count === 1 ? 'snapshot' : 'snapshots'}, ${formatBytes(used)}${isKept ? ', kept in this browser: a reload resumes where you are' : ''}.</span>
    <details><summary>What is kept, and for how long</summary>
    <p>${calledFirst(guest.name)} keeps running while a snapshot is taken. Automatic snapshots and those before a fork make room for newer ones: the last ${KEPT.automatic} stay. So do the last ${KEPT.before} of those that are taken before you rewind or close a guest. Whatever has a name or a pin, and whatever you import, stays until you remove it. To import, drop a file from <span class="mono">v86-virtiofs export</span>, or from another browser, on the list.</p></details>
    <button ?disabled=${isBusy} @click=${on.reset}>Reset to start</button>
    <button class="danger" ?disabled=${isBusy} @click=${on.clear}>Remove all</button></div>`;
}
