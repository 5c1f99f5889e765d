import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { useCli } from '../../support/cli.ts';

describe('command line: what it tells as JSON', function () {
  this.timeout(300_000);
  const { run } = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'cli-json-'));
  after(() => rmSync(directory, { recursive: true }));
  const at = (name: string) => join(directory, name);
  const json = async (command: string, ...args: string[]) => {
    const { code, stdout, stderr } = await run([command, '--json', ...args]);
    return { code, told: JSON.parse(stdout) as unknown, stderr };
  };

  let id: string;
  before(async () => {
    const { code, stderr } = await run(['freeze', '--store', at('store'), '--name', 'base', '--share', 'docs']);
    expect(code, stderr).to.equal(0);
    id = ((await json('list', '--store', at('store'))).told as { id: string }[])[0]!.id;
  });

  it('list has each snapshot, and not where on this host its shares came from', async () => {
    const { told } = await json('list', '--store', at('store'));
    const [first] = told as { id: string; name: string; summary: object }[];
    expect(first).to.include.keys(['id', 'name', 'created', 'parent', 'machine', 'ramBytes', 'addedBytes', 'damage']);
    expect(first!.summary).to.have.property('console');
    expect(first!.summary).not.to.have.property('shares');
    expect(JSON.stringify(told)).not.to.contain(process.cwd());
  });

  it('export, import and remove tell what they have done it to', async () => {
    const file = at('base.layer');
    const out = await json('export', '--store', at('store'), 'base', file);
    expect(out).to.deep.equal({
      code: 0,
      stderr: '',
      told: { id, name: 'base', file, bytes: statSync(file).size },
    });
    const { told, ...came } = await json('import', '--store', at('other'), file);
    const copy = told as { id: string };
    expect(came).to.deep.equal({ code: 0, stderr: '' });
    expect(copy).to.deep.include({ name: 'base', file });
    const gone = await json('remove', '--store', at('other'), 'base', copy.id);
    expect(gone).to.deep.equal({ code: 0, stderr: '', told: { removed: [copy.id] } });
    expect((await run(['export', '--store', at('store'), 'base', at('none/base.layer')])).stderr).to.match(
      /^v86-virtiofs: can't write .*none\/base.layer: ENOENT.*\n$/,
    );
  });

  it('fork has what each copy said and came to', async () => {
    const script = 'echo $FORK; echo err >&2; [ $FORK = 2 ] && reboot -f; exit $FORK';
    const { code, told, stderr } = await json(
      'fork',
      '--store',
      at('store'),
      '-c',
      '3',
      'base',
      '--',
      'sh',
      '-c',
      script,
    );
    const [first, second, third] = told as { copy: number; code: number; stdout: string; stderr: string }[];
    expect([code, first, third]).to.deep.equal([
      123,
      { copy: 1, code: 1, stdout: '1\n', stderr: 'err\n' },
      { copy: 3, code: 3, stdout: '3\n', stderr: 'err\n' },
    ]);
    expect(second)
      .to.include({ copy: 2, code: 123 })
      .and.to.have.property('error')
      .that.matches(/has rebooted/);
    expect(stderr).to.match(/^2 \| the guest has rebooted/);
  });

  it('fork ends copies that take too long, and tells what they have said until then', async () => {
    const { told } = await json(
      'fork',
      '--store',
      at('store'),
      '--timeout',
      '1',
      'base',
      '--',
      'sh',
      '-c',
      'echo a; sleep 1000',
    );
    const each = { code: 124, stdout: 'a\n', stderr: '' };
    expect(told).to.deep.equal([
      { copy: 1, ...each },
      { copy: 2, ...each },
    ]);
  });
});
