#!/usr/bin/env node
import { isTrusted, socketPath } from './cli/daemon/place.ts';

// As little as possible is loaded for a command that the daemon runs.
const args = process.argv.slice(2);
const path = args[0] === 'run' || args[0] === 'shell' ? socketPath() : undefined;
let code: number | undefined;
if (path !== undefined && isTrusted(path)) {
  const { runByDaemon } = await import('./cli/daemon/client.ts');
  code = await runByDaemon(path, args);
}
if (code === undefined) {
  const { main } = await import('./cli/main.ts');
  await main();
} else process.exitCode = code;
// Not when the last timer of a stopped emulator has run out.
process.exit();
