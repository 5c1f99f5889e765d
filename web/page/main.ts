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
