import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory, PACKAGE_ROOT } from '../../guest-images/paths.ts';
import { CREDENTIALS, RadosGateway } from '../../test/support/rados-gateway.ts';

/** What a job of continuous integration has installed, and does: a test on a fork, by the package as it is built. */
const JOB = `
  import { baseMachine } from ${JSON.stringify(join(PACKAGE_ROOT, 'dist/harness/testing/index.js'))};
  const [memory, command] = process.argv.slice(1);
  const base = baseMachine({ memory: Number(memory) });
  await base.test(async (vm) => {
    const { stdout } = await vm.exec(command);
    if (stdout !== 'written\\n') throw new Error('the guest has another file than was written: ' + stdout);
    process.stdout.write('asserted');
  })();
  await base.close();
`;

/**
 * Runs that have the guest image, and nothing else: the base machine is in a bucket. Returns how long each takes from the start of its process to the first
 * assertion, in milliseconds. `command`: what the test runs in the guest, which writes "written".
 */
export async function runCold(rounds: number, memory: number, command: string): Promise<number[]> {
  const server = await RadosGateway.start();
  const work = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    const store = server.location(await server.bucket(), 'bases');
    await runJob(cacheDirectory(), store, memory, command);
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const cache = await mkdtemp(join(work, 'cache-'));
      for (const name of await readdir(cacheDirectory()))
        if (name.startsWith('guest-')) await symlink(join(cacheDirectory(), name), join(cache, name));
      times.push(await runJob(cache, store, memory, command));
    }
    return times;
  } finally {
    await rm(work, { recursive: true, force: true });
    await server.stop();
  }
}

async function runJob(cache: string, store: string, memory: number, command: string): Promise<number> {
  const started = performance.now();
  const child = spawn(process.execPath, ['--input-type=module', '-e', JOB, `${memory}`, command], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      ...CREDENTIALS,
      V86_VIRTIOFS_CACHE: cache,
      V86_VIRTIOFS_BASES: store,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    },
  });
  const ended = once(child, 'exit');
  let asserted: number | undefined;
  child.stdout.once('data', () => (asserted = performance.now() - started));
  await ended;
  if (asserted === undefined) throw new Error(`a cold run has ended with ${child.exitCode}`);
  return asserted;
}
