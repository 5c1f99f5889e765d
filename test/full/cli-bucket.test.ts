import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openFiles } from '../../harness/node/stores/open-files.ts';
import { useCli } from '../support/cli.ts';
import { commandsOf } from '../support/store-commands.ts';
import { BUCKET } from '../support/store-kinds.ts';

describe('command line: a store in a bucket', function () {
  this.timeout(300_000);
  let directory: string;
  let location: string;
  const cli = useCli();
  const inStore = commandsOf(cli, () => location);

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cli-bucket-'));
    location = await BUCKET.make();
  });
  after(() => rmSync(directory, { recursive: true }));

  it('freezes, resumes, forks in threads, moves, checks and removes', async () => {
    await inStore('freeze', '--name', 'base', '--', 'sh', '-c', 'echo kept > file; (sleep 1000 &)');
    expect(
      await inStore(
        'restore',
        'base',
        '--name',
        'next',
        '--',
        'sh',
        '-c',
        'cat file; pidof sleep >/dev/null && echo yes',
      ),
    ).to.equal('kept\nyes\n');
    expect(await inStore('fork', 'base', '--copies', '2', '--workers', '2', '--', 'cat', 'file')).to.match(
      /kept[\s\S]*kept/,
    );
    expect(await inStore('list')).to.match(/ base [\s\S]* next /);
    expect(JSON.parse(await inStore('verify', '--json')))
      .to.have.property('sound')
      .with.length(2);
    await inStore('rename', 'next', 'later');
    expect(await inStore('diff', 'base', 'later')).to.match(/pages of memory/);
    const file = join(directory, 'later.layer');
    await inStore('export', 'later', file);
    await inStore('remove', 'base', 'later');
    await inStore('import', file);
    expect(await inStore('shell', 'later')).to.equal('');
    await inStore('gc');
    expect(await inStore('inspect', 'later')).to.match(/^later /);
    expect(JSON.parse(await inStore('doctor', '--json'))).to.have.property('fit', true);
    expect(await BUCKET.everything(location)).to.deep.equal((await openFiles(location).list()).sort());
  });

  it('says what is wrong with a name, before a guest boots', async () => {
    for (const [store, says] of [
      ['s3://bucket/x?secret=y', /only endpoint and region can stand behind the question mark/],
      [location.replace(/bucket-\d+/, 'no-such-bucket'), /no such bucket; make it, or give another/],
    ] as const) {
      const { code, stderr } = await cli.run(['freeze', '--store', store, '--', 'true']);
      expect(code).to.equal(125);
      expect(stderr)
        .to.match(says)
        .and.not.match(/booting/);
    }
  });
});
