import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COMPILED = '.cache/cli';
const COMPILE = `tsc -p tsconfig.build.json --outDir ${COMPILED} --declaration false --incremental --tsBuildInfoFile ${COMPILED}/tsbuildinfo`;

// From its sources it would take three times as long to start. One process compiles at a time, and only what has changed.
execFileSync('flock', ['package.json', ...`node_modules/.bin/${COMPILE}`.split(' ')], { cwd: ROOT, stdio: 'inherit' });

/** What Node is given for the command line, compiled from the sources as they are. */
export const CLI = ['--enable-source-maps', `${ROOT}${COMPILED}/harness/node/cli.js`];
