// Builds the guest image where it is missing: node --import tsx guest-images/main.ts [--kernel minimal] [--driver fast] [--all]
import { parseArgs } from 'node:util';
import type { GuestImageOptions } from './image.ts';
import { buildOnTerminal } from './terminal.ts';

const KERNELS = ['stock', 'minimal'] as const;
const DRIVERS = ['stock', 'fast'] as const;

const { kernel, driver, all } = parseArgs({
  options: { kernel: { type: 'string' }, driver: { type: 'string' }, all: { type: 'boolean' } },
}).values;

function choice<T extends string>(option: string, asked: string | undefined, choices: readonly [T, ...T[]]): T {
  const chosen = asked === undefined ? choices[0] : choices.find((name) => name === asked);
  if (chosen !== undefined) return chosen;
  console.error(`--${option} can't be ${asked}: choose ${choices.join(' or ')}.`);
  process.exit(2);
}

const asked = { kernel: choice('kernel', kernel, KERNELS), driver: choice('driver', driver, DRIVERS) };
const every: GuestImageOptions[] = KERNELS.flatMap((kernel) => DRIVERS.map((driver) => ({ kernel, driver })));

for (const options of all ? every : [asked]) await buildOnTerminal(options);
