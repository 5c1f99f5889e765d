import { css, html, nothing, type TemplateResult } from 'lit';
import { type IconName, icon } from './icons.ts';

export interface Tab {
  id: string;
  label: string;
  icon?: IconName;
  /** Shows a button that closes it. */
  onClose?: () => void;
}

interface TabList {
  label: string;
  tabs: readonly Tab[];
  selected: string;
  /** Ids of the panels are this and the tab's id. */
  panelPrefix: string;
  onSelect: (id: string) => void;
}

/** A list of tabs, with the keys of the WAI-ARIA pattern: arrows, Home and End choose, Delete closes. */
export function tabList({ label, tabs, selected, panelPrefix, onSelect }: TabList): TemplateResult {
  const choose = (event: KeyboardEvent, index: number) => {
    const target = {
      ArrowRight: index + 1,
      ArrowDown: index + 1,
      ArrowLeft: index - 1,
      ArrowUp: index - 1,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (event.key === 'Delete') tabs[index]!.onClose?.();
    if (target === undefined) return;
    event.preventDefault();
    const wrapped = (target + tabs.length) % tabs.length;
    onSelect(tabs[wrapped]!.id);
    const list = (event.currentTarget as HTMLElement).closest('.tabs')!;
    list.querySelectorAll<HTMLElement>('[role=tab]')[wrapped]!.focus();
  };
  // The tabs are not below their list, where no buttons may be.
  return html`<div class="tabs">
    <span role="tablist" aria-label=${label} aria-owns=${tabs.map(({ id }) => `${panelPrefix}${id}-tab`).join(' ')}></span>
    ${tabs.map(
      (tab, index) => html`<span class="tab" ?data-selected=${tab.id === selected} role="presentation">
      <button role="tab" class="plain" id=${`${panelPrefix}${tab.id}-tab`} aria-selected=${tab.id === selected} aria-controls=${panelPrefix + tab.id}
        tabindex=${tab.id === selected ? 0 : -1}
        @click=${() => onSelect(tab.id)} @keydown=${(event: KeyboardEvent) => choose(event, index)}>
        ${tab.icon ? icon(tab.icon) : nothing}<span>${tab.label}</span>
      </button>
      ${tab.onClose ? html`<button class="plain icon close" tabindex="-1" aria-label=${`Close ${tab.label}`} @click=${tab.onClose}>${icon('close')}</button>` : nothing}
    </span>`,
    )}
  </div>`;
}

export const tabStyles = css`
  .tabs { display: flex; gap: 2px; min-width: 0; overflow-x: auto; scrollbar-width: none; }
  .tab { display: inline-flex; align-items: center; flex: none; border-bottom: 2px solid transparent; }
  .tab [role=tab] { border: 0; border-radius: 6px 6px 0 0; color: var(--muted); }
  .tab[data-selected] { border-color: var(--accent); }
  .tab[data-selected] [role=tab] { color: var(--text); font-weight: 600; }
  .tab .close { width: 22px; min-height: 22px; margin-right: 4px; color: var(--muted); }
  .tab .close svg { width: 12px; height: 12px; }
`;
