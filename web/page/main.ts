import { keepForOffline } from './offline.ts';
import './virtiofs-vm.ts';

for (const element of document.querySelectorAll('virtiofs-vm'))
  element.addEventListener(
    'ready',
    () => {
      // It goes on as it is without: a full disk, a private window, a network that has gone already.
      keepForOffline(new URL(element.base, document.baseURI)).catch(() => {});
    },
    { once: true },
  );

/** A file that is let go where nothing takes it would be opened in place of the page, and the machine would end. */
function refuse(event: DragEvent): void {
  if (event.defaultPrevented || !event.dataTransfer?.types.includes('Files')) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = 'none';
}

addEventListener('dragover', refuse);
addEventListener('drop', refuse);
