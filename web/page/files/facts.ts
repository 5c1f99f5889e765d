import { css, html, nothing, type TemplateResult } from 'lit';
import { called, formatBytes } from '../../protocol/format.ts';
import type { FileEntry, FileUse } from '../../protocol.ts';
import { formatMode, formatOwner, formatTime } from '../format.ts';

const O_ACCMODE = 3;
const ACCESS = ['to read', 'to write', 'to read and write', ''];

/** What a file is, and which guests hold what of it. */
export function fileFacts(
  entry: FileEntry,
  use: FileUse | undefined,
  onMode: (() => void) | undefined,
): TemplateResult {
  return html`<dl class="facts">
    ${fact('Size', formatBytes(entry.size))}
    ${fact('Mode', !onMode ? html`<span class="mono">${formatMode(entry.mode)}</span>` : html`<button class="plain mono" title="Change the mode" aria-label=${`Mode ${formatMode(entry.mode)}: change it`} @click=${onMode}>${formatMode(entry.mode)}</button>`)}
    ${fact('Owner', `${formatOwner(entry.uid)}:${formatOwner(entry.gid)}`)}
    ${fact('Inode', entry.ino)} ${fact('Links', entry.nlink)} ${fact('Modified', formatTime(entry.mtime))}
    ${use?.handles.map(({ guest, fh, flags }) => fact('Open', `${entry.kind === 'directory' ? '' : `${ACCESS[flags & O_ACCMODE]!}, `}in ${called(guest)}, file handle ${fh}`))}
    ${use?.locks.map(({ guest, space, type, pid, start, end }) =>
      fact(
        'Lock',
        `${type} (${space}), in ${called(guest)}, pid ${pid}, ${start === 0 && end === undefined ? 'whole file' : `bytes ${start} to ${end ?? 'the end'}`}`,
      ),
    )}
    ${use?.waiting.map(({ guest, pid, type }) => fact('Waits for a lock', `${type}, in ${called(guest)}, pid ${pid}`))}
    ${use && !use.handles.length && !use.locks.length && !use.waiting.length ? fact('Not open', '') : nothing}
  </dl>`;
}

function fact(name: string, value: unknown): TemplateResult {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

export const factStyles = css`
  .facts { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 0; padding: 0 10px 8px; font-size: 12.5px; border-bottom: 1px solid var(--border); max-height: 40%; overflow: auto; flex: none; }
  .facts div { display: flex; gap: 5px; align-items: baseline; }
  .facts dt { color: var(--muted); }
  .facts dd { margin: 0; overflow-wrap: anywhere; }
  .facts button { display: inline; min-height: 0; padding: 0 3px; line-height: inherit; border: 0; text-decoration: underline dotted; text-underline-offset: 3px; }
`;
