import { css, html, nothing, type TemplateResult } from 'lit';
import { printable } from '../../../harness/machine/printable.ts';
import { formatBytes } from '../../protocol/format.ts';
import type { FileEntry, Listing } from '../../protocol.ts';
import { formatMode, formatOwner } from '../format.ts';
import { icon } from '../icons.ts';

export interface TreeModel {
  /** By path, the root's is "/". */
  lists: ReadonlyMap<string, Listing>;
  expanded: ReadonlySet<string>;
  selected: string | undefined;
  /** The directory that a drop would go to. */
  dropTarget: string | undefined;
  /** What was written in the editor is not saved. */
  isUnsaved(path: string): boolean;
  /** Undefined: nothing. */
  onSelect(entry: FileEntry | undefined): void;
  onToggle(path: string): void;
  onRename(entry: FileEntry): void;
  onRemove(entry: FileEntry): void;
}

interface Row {
  entry: FileEntry;
  level: number;
  position: number;
  count: number;
}

function rows(
  lists: TreeModel['lists'],
  expanded: TreeModel['expanded'],
  path = '/',
  level = 1,
): (Row | { more: number; level: number })[] {
  const { entries, count } = lists.get(path) ?? { entries: [], count: 0 };
  const shown = entries.flatMap((entry, n) => [
    { entry, level, position: n + 1, count },
    ...(entry.kind === 'directory' && expanded.has(entry.path) ? rows(lists, expanded, entry.path, level + 1) : []),
  ]);
  return count > entries.length ? [...shown, { more: count - entries.length, level }] : shown;
}

/** The tree, with the keys of the WAI-ARIA pattern, F2 and Delete. */
export function fileTree(model: TreeModel): TemplateResult {
  const all = rows(model.lists, model.expanded);
  const focusable = all.filter((row): row is Row => 'entry' in row);
  const current = focusable.find(({ entry }) => entry.path === model.selected) ?? focusable[0];

  const go = (event: KeyboardEvent, index: number) => {
    const row = focusable[index];
    if (!row) return;
    model.onSelect(row.entry);
    const items = (event.currentTarget as HTMLElement).closest('[role=tree]')!.querySelectorAll<HTMLElement>('.row');
    items[index]?.focus();
  };
  const onKey = (event: KeyboardEvent, { entry, level }: Row, index: number) => {
    const isOpen = model.expanded.has(entry.path);
    switch (event.key) {
      case 'ArrowDown':
        go(event, index + 1);
        break;
      case 'ArrowUp':
        go(event, index - 1);
        break;
      case 'Escape':
        model.onSelect(undefined);
        break;
      case 'Home':
        go(event, 0);
        break;
      case 'End':
        go(event, focusable.length - 1);
        break;
      case 'ArrowRight':
        if (entry.kind === 'directory' && !isOpen) model.onToggle(entry.path);
        else if (isOpen) go(event, index + 1);
        break;
      case 'ArrowLeft':
        if (isOpen) model.onToggle(entry.path);
        else
          go(
            event,
            focusable.findLastIndex((row, n) => n < index && row.level < level),
          );
        break;
      case 'Enter':
      case ' ':
        model.onSelect(entry);
        if (entry.kind === 'directory') model.onToggle(entry.path);
        break;
      case 'F2':
        model.onRename(entry);
        break;
      case 'Delete':
        model.onRemove(entry);
        break;
      default: {
        if (event.key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey) return;
        const order = [...focusable.keys()].map((n) => (index + 1 + n) % focusable.length);
        const found = order.find((n) => focusable[n]!.entry.name.toLowerCase().startsWith(event.key.toLowerCase()));
        if (found !== undefined) go(event, found);
      }
    }
    event.preventDefault();
  };
  let index = -1;
  return html`<div class="tree-head" aria-hidden="true"><span>Name</span><span class="size">Size</span><span class="mode">Mode</span><span class="owner">Owner</span><span class="ino">Inode</span></div>
  <div role="tree" aria-label="Shared folder">
    ${all.map((row) => {
      if (!('entry' in row))
        return html`<div class="more muted" role="treeitem" aria-level=${row.level} aria-disabled="true" style=${`--level: ${row.level}`}>and ${row.more} more, which only the terminal shows</div>`;
      const { entry, level, position, count } = row;
      const n = ++index;
      const isDirectory = entry.kind === 'directory';
      const isOpen = isDirectory && model.expanded.has(entry.path);
      return html`<div role="treeitem" class="row" style=${`--level: ${level}`} data-path=${entry.path}
        aria-level=${level} aria-posinset=${position} aria-setsize=${count} aria-selected=${entry.path === model.selected}
        aria-expanded=${isDirectory ? isOpen : nothing} ?data-drop=${isDirectory && model.dropTarget === entry.path}
        tabindex=${row === current ? 0 : -1} draggable="false"
        @keydown=${(event: KeyboardEvent) => onKey(event, row, n)}
        @click=${() => {
          model.onSelect(entry);
          if (isDirectory) model.onToggle(entry.path);
        }}>
        <span class="name">
          <span class="twisty" ?data-open=${isOpen}>${isDirectory ? icon('chevron') : nothing}</span>
          ${icon(isDirectory ? 'folder' : entry.kind === 'symlink' ? 'link' : entry.kind === 'special' ? 'device' : 'file')}
          <span class="text">${printable(entry.name)}${entry.target === undefined ? nothing : html`<span class="muted"> → ${printable(entry.target)}</span>`}</span>
          ${model.isUnsaved(entry.path) ? html`<span class="unsaved" title="Not saved"><span class="visually-hidden">not saved</span></span>` : nothing}
        </span>
        <span class="size">${isDirectory ? nothing : formatBytes(entry.size)}</span>
        <span class="mode mono">${formatMode(entry.mode)}</span>
        <span class="owner">${formatOwner(entry.uid)}</span>
        <span class="ino mono">${entry.ino}</span>
      </div>`;
    })}
  </div>`;
}

export const treeStyles = css`
  .row, .tree-head { display: grid; grid-template-columns: minmax(0, 1fr) 64px 92px; align-items: center; gap: 8px; padding: 0 10px; }
  .row .owner, .row .ino, .tree-head .owner, .tree-head .ino { display: none; }
  .tree-head { position: sticky; top: 0; z-index: 1; min-height: 26px; background: var(--surface); color: var(--muted); font-size: 12px; border-bottom: 1px solid var(--border); }
  .row { min-height: 28px; cursor: pointer; user-select: none; }
  .row:hover { background: var(--hover); }
  .row[aria-selected=true] { background: var(--accent-soft); }
  .row:focus-visible { outline-offset: -2px; }
  .row[data-drop] { outline: 2px dashed var(--accent); outline-offset: -2px; }
  .row .name { display: flex; align-items: center; gap: 6px; min-width: 0; padding-left: calc((var(--level) - 1) * 16px); }
  .row .text { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .row svg { color: var(--muted); }
  .unsaved { flex: none; width: 8px; height: 8px; border-radius: 50%; background: var(--accent); }
  .twisty { width: 14px; display: inline-flex; }
  .twisty svg { width: 14px; height: 14px; transition: transform .12s; }
  .twisty[data-open] svg { transform: rotate(90deg); }
  .size, .ino { text-align: right; font-variant-numeric: tabular-nums; }
  .row .size, .row .mode, .row .owner, .row .ino { color: var(--muted); font-size: 12px; }
  .more { padding: 4px 10px 4px calc(var(--level) * 16px + 30px); }
  @container (min-width: 520px) {
    .row, .tree-head { grid-template-columns: minmax(0, 1fr) 64px 92px 60px 56px; }
    .row .owner, .row .ino, .tree-head .owner, .tree-head .ino { display: inline; }
  }
  @media (pointer: coarse) { .row { min-height: 38px; } }
`;
