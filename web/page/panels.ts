import { html } from 'lit';
import type { Connection, GuestView } from '../embed/connection.ts';
import { called } from '../protocol/format.ts';
import type { CourseGuide } from './course-guide.ts';

export const PANELS = [
  { id: 'files', label: 'Files', icon: 'folder' },
  { id: 'timeline', label: 'Timeline', icon: 'clock' },
  { id: 'inspector', label: 'Inspector', icon: 'inspect' },
  { id: 'lessons', label: 'Lessons', icon: 'book' },
] as const;
export type PanelId = (typeof PANELS)[number]['id'];

/** Each is fetched when it is shown first. */
const LOADERS: Record<PanelId, () => Promise<unknown>> = {
  files: () => import('./files/panel.ts'),
  timeline: () => import('./timeline/panel.ts'),
  inspector: () => import('./inspector/panel.ts'),
  lessons: () => import('./lessons/index.ts'),
};

/** Whether a panel's program is here, or on its way. */
const loaded = new Set<PanelId>();

function load(panel: PanelId, connection: Connection): void {
  if (loaded.has(panel)) return;
  loaded.add(panel);
  LOADERS[panel]().catch(() => {
    loaded.delete(panel);
    connection.report('This view could not be fetched: check your network connection, and reload the page.');
  });
}

/** A panel, about one guest. `version` changes whenever what it shows may have; `guide` knows what a lesson says about it. */
export function renderPanel(
  panel: PanelId,
  connection: Connection,
  guest: GuestView,
  version: number,
  guide: CourseGuide,
  isReadonly: boolean,
) {
  load(panel, connection);
  switch (panel) {
    case 'timeline':
      return html`<vm-timeline class="panel" style="height: 100%" .connection=${connection} .guest=${guest} .version=${version} .marks=${guide.marks}></vm-timeline>`;
    case 'inspector':
      return html`<vm-inspector class="panel" style="height: 100%" .connection=${connection} .guest=${guide.device ?? guest} .version=${version} .readonly=${isReadonly} .view=${guide.inspected} .marks=${guide.marks}></vm-inspector>`;
    case 'lessons':
      return html`<vm-lessons class="panel" style="height: 100%" .connection=${connection} .guest=${guest} .version=${version} .course=${guide.place?.course ?? ''}></vm-lessons>`;
    case 'files':
      return html`<vm-files class="panel" style="height: 100%" .connection=${connection} .guest=${guest} .version=${version} .readonly=${isReadonly} .marks=${guide.marks}></vm-files>`;
  }
}

/** Whose folder a guest has. */
export function folderOf(guests: GuestView[], one: GuestView): string {
  const others = guests.filter((guest) => guest !== one && guest.folder === one.folder).map(({ name }) => called(name));
  return others.length ? `shared with ${others.join(', ')}` : 'of its own';
}
