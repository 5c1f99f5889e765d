import { type Endpoint, expose } from 'comlink';
import { guarded } from '../protocol/guard.ts';
import { Host } from './host.ts';

expose(new Host(), guarded(self as unknown as Endpoint));
