import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { cacheDirectory } from '../../guest-images/paths.ts';
import { CREDENTIALS } from '../support/rados-gateway.ts';
import { runTests } from '../support/runners/index.ts';
import { BUCKET } from '../support/store-kinds.ts';

const ROOT = join(import.meta.dirname, '../..');
const FILES = ['a', 'b'].map((name) => `test/support/runners/sharded-${name}.test.ts`);

/** What a workflow of examples/ci runs: the words behind `npx vitest` of each of its jobs. */
async function commandsOf(workflow: string): Promise<string[]> {
  const text = await readFile(join(ROOT, 'examples/ci', `${workflow}.yml`), 'utf8');
  return [...text.matchAll(/run: npx vitest (.*)$/gm)].map(([, words]) => words!);
}

describe('tests on base machines in continuous integration, as the workflows of examples/ci run them', function () {
  this.timeout(1_800_000);
  let work: string;
  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'ci-'));
    await ensureGuestImage();
  });
  after(() => rm(work, { recursive: true, force: true }));

  /** A machine that has the guest image, and nothing else: `MACHINES/NAME`. Returns its cache directory. */
  async function machine(name: string): Promise<string> {
    const cache = join(work, name);
    await mkdir(cache, { recursive: true });
    for (const each of await readdir(cacheDirectory()))
      if (each.startsWith('guest-')) await symlink(join(cacheDirectory(), each), join(cache, each));
    return cache;
  }

  async function job(cache: string, words: string, files: string[], env: NodeJS.ProcessEnv): Promise<void> {
    const { code, output } = await runTests(
      'vitest',
      [...words.split(' '), ...files],
      { V86_VIRTIOFS_CACHE: cache, ...env },
      600_000,
    );
    expect(code, output).to.equal(0);
  }

  /** What was done on such machines. */
  const linesOf = async (machines: string) =>
    (await readFile(join(work, machines, 'log'), 'utf8')).trimEnd().split('\n').sort();

  it('spread over machines with one bucket, the base is prepared once, and each test runs once', async () => {
    const env = {
      ...CREDENTIALS,
      V86_VIRTIOFS_BASES: await BUCKET.make(),
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    };
    const [prepare, test] = await commandsOf('sharded');
    await job(await machine('sharded/prepares'), prepare!, FILES, env);
    expect(await linesOf('sharded')).to.deep.equal(['prepared']);
    await Promise.all(
      [1, 2].map(async (n) =>
        job(await machine(`sharded/shard-${n}`), test!.replace('${{ matrix.shard }}/4', `${n}/2`), FILES, env),
      ),
    );
    const all = FILES.flatMap((file) => ['one', 'two'].map((name) => `${basename(file)} ${name}`));
    expect(await linesOf('sharded')).to.deep.equal([...all, 'prepared'].sort());
  });

  it('on one machine that keeps its cache, the base is prepared in the first run alone', async () => {
    const [test] = await commandsOf('cached');
    const cache = await machine('cached/cache');
    for (let n = 0; n < 2; n++) await job(cache, test!, FILES.slice(0, 1), { V86_VIRTIOFS_BASES: '' });
    const all = ['one', 'two'].map((name) => `${basename(FILES[0]!)} ${name}`);
    expect(await linesOf('cached')).to.deep.equal([...all, ...all, 'prepared'].sort());
  });
});
