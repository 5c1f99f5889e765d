import { type Endpoint, expose } from 'comlink';
import { guarded } from '../protocol/guard.ts';
import { Bare } from './bare/bare.ts';

expose(new Bare(), guarded(self as unknown as Endpoint));
