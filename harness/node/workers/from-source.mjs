// What a thread loads where vm-thread.ts is not compiled: tsx has no part in threads by itself.
import { register } from 'tsx/esm/api';

register();
export default (await import('./vm-thread.ts')).default;
