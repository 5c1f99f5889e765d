// Builds the guest image where it is missing: node --import tsx guest-images/main.ts [--kernel minimal] [--driver fast] [--all]
import { parseArgs } from 'node:util';
import type { GuestImageOptions } from './image.ts';
import { buildOnTerminal } from './terminal.ts';

const { kernel, driver, all } = parseArgs({
  options: { kernel: { type: 'string' }, driver: { type: 'string' }, all: { type: 'boolean' } },
}).values;
const asked: GuestImageOptions = {
  kernel: kernel === 'minimal' ? 'minimal' : 'stock',
  driver: driver === 'fast' ? 'fast' : 'stock',
};
const every: GuestImageOptions[] = [
  {},
  { driver: 'fast' },
  { kernel: 'minimal' },
  { kernel: 'minimal', driver: 'fast' },
];

for (const options of all ? every : [asked]) await buildOnTerminal(options);
