import { html, nothing } from 'lit';
import type { GuestView } from '../embed/connection.ts';

/** Guests whose root filesystem the visitor looks at, in place of the shared folder. */
const onRoot = new WeakSet<GuestView>();

/** The view of a guest that the panels are to show. */
export function chosenDevice(guest: GuestView): GuestView {
  return (onRoot.has(guest) && guest.root) || guest;
}

export function isRoot(view: GuestView): boolean {
  return view.mountPoint === '/';
}

/** What somebody else speaks of is the shared folder. */
export function chooseFolder(guest: GuestView): void {
  onRoot.delete(guest);
}

/** The choice, of a guest that has one. `label`: what is chosen. */
export function deviceChoice(guest: GuestView, label: string, onChoose: () => void) {
  if (!guest.root) return nothing;
  const choose = (event: Event) => {
    if ((event.target as HTMLSelectElement).value) onRoot.add(guest);
    else onRoot.delete(guest);
    onChoose();
  };
  const isOnRoot = onRoot.has(guest);
  return html`<select class="device" aria-label=${label} @change=${choose}>
    <option value="" ?selected=${!isOnRoot}>Shared folder</option>
    <option value="root" ?selected=${isOnRoot}>Root filesystem</option></select>`;
}
