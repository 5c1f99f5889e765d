import { expose } from 'comlink';
import { Host } from './host.ts';

expose(new Host());
