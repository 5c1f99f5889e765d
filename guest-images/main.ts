// Builds the guest image where it is missing: node --import tsx guest-images/main.ts
import { buildOnTerminal } from './terminal.ts';

await buildOnTerminal();
