import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { useCli } from '../support/cli.ts';
import { PANIC } from '../support/panic.ts';
import { commandsOf } from '../support/store-commands.ts';

describe('command line: snapshots', function () {
  this.timeout(300_000);
  let directory: string;
  const at = (name: string) => join(directory, name);
  const cli = useCli();
  const run = (...args: string[]) => cli.run(args);
  const inStore = commandsOf(cli, () => at('store'));

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cli-snapshots-'));
    await inStore(
      'freeze',
      '--name',
      'base',
      '--',
      'sh',
      '-c',
      'echo kept > file; exec 3>gone; rm gone; (sleep 1000 >&3 &)',
    );
  });
  after(() => rmSync(directory, { recursive: true }));

  it('restore goes on in another process, with what was running, and freezes again', async () => {
    expect(
      await inStore(
        'restore',
        'base',
        '--name',
        'next',
        '--',
        'sh',
        '-c',
        'cat file; pidof sleep > /dev/null && echo sleeping; echo more > other',
      ),
    ).to.equal('kept\nsleeping\n');
    const listed = JSON.parse(await inStore('list', '--json')) as {
      id: string;
      name: string;
      parent: string;
      addedBytes: number;
    }[];
    expect(listed.map(({ name }) => name)).to.deep.equal(['base', 'next']);
    expect(listed[1]!.parent).to.equal(listed[0]!.id);
    expect(listed[1]!.addedBytes).to.be.lessThan(listed[0]!.addedBytes / 5);
  });

  it('restore exits with the command’s code', async () => {
    expect((await run('restore', '--store', at('store'), 'base', '--', 'sh', '-c', 'exit 9')).code).to.equal(9);
  });

  it('inspect and diff tell what is in it', async () => {
    expect(await inStore('inspect', 'next'))
      .to.match(/memory 256/)
      .and.to.match(/open file \(deleted\)/)
      .and.to.match(/2 entries/);
    expect(await inStore('diff', 'base', 'next'))
      .to.match(/pages of memory/)
      .and.to.match(/^\+ \/other$/m);
  });

  it('fork runs copies side by side, each with files of its own', async () => {
    const told = await inStore(
      'fork',
      '--copies',
      '3',
      'base',
      '--',
      'sh',
      '-c',
      'echo $FORK > mine; sleep 0.3; cat mine; ls',
    );
    expect(
      told
        .split('\n')
        .filter((line) => /^\d \| \d$/.test(line))
        .sort(),
    ).to.deep.equal(['1 | 1', '2 | 2', '3 | 3']);
  });

  it('copies draw random numbers of their own and have the time of now, unless told otherwise', async () => {
    const draw = ['base', '--', 'sh', '-c', 'cat /proc/sys/kernel/random/uuid; date +%s'];
    const said = async (...options: string[]) => {
      const text = await inStore('fork', ...options, ...draw);
      return [1, 2].map((copy) => text.match(new RegExp(`(?<=^${copy} \\| ).+`, 'gm'))!);
    };
    const told = await said();
    expect(told.map((lines) => lines.length)).to.deep.equal([2, 2]);
    expect(told[0]![0]).not.to.equal(told[1]![0]);
    const kept = await said('--no-reseed', '--keep-clock');
    expect(Number(kept[0]![1])).to.be.below(Number(told[0]![1]));
  });

  it('a guest that crashes, halts or reboots has an exit code of its own, and says what its console said', async () => {
    for (const [command, exit, said] of [
      [PANIC, 121, 'Kernel panic'],
      ['poweroff -f', 122, 'System halted'],
      ['reboot -f', 123, 'Restarting system'],
    ] as const) {
      const { code, stderr } = await run('restore', '--store', at('store'), 'base', '--', 'sh', '-c', command);
      expect(code).to.equal(exit);
      expect(stderr).to.contain(said);
    }
  });

  it('export and import carry it to another store', async () => {
    await inStore('export', 'next', at('file.layer'));
    expect((await run('import', '--store', at('other'), at('file.layer'))).code).to.equal(0);
    expect((await run('restore', '--store', at('other'), 'next', '--', 'cat', 'other')).stdout).to.equal('more\n');
  });

  it('verify finds damage, and names the file', async () => {
    await inStore('verify');
    const name = readdirSync(at('other')).find((file) => file.endsWith('.layer'));
    const bytes = readFileSync(join(at('other'), name!));
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(join(at('other'), name!), bytes);
    const { code, stderr } = await run('verify', '--store', at('other'));
    expect(code).to.equal(125);
    expect(stderr).to.contain(name).and.to.contain('copy the file again');
  });

  it('rename gives a snapshot another name, under which it is what it was', async () => {
    await inStore('rename', 'next', 'latest');
    expect((JSON.parse(await inStore('list', '--json')) as { name: string }[]).map(({ name }) => name)).to.deep.equal([
      'base',
      'latest',
    ]);
    expect(await inStore('restore', 'latest', '--', 'cat', 'other')).to.equal('more\n');
    await inStore('rename', 'latest', 'next');
  });

  it('a name that is there is refused before anything runs, and one that came with a file is told apart', async () => {
    for (const args of [
      ['freeze', '--name', 'base', '--', 'echo', 'ran'],
      ['restore', '--name', 'base', 'next', '--', 'echo', 'ran'],
      ['rename', 'next', 'base'],
    ]) {
      const { code, stdout, stderr } = await run(args[0]!, '--store', at('store'), ...args.slice(1));
      expect([code, stdout], stderr).to.deep.equal([125, '']);
      expect(stderr).to.match(/there is a snapshot called base \(\w{12}\): choose another name, or rename or remove/);
    }
    await inStore('rename', 'next', 'next');
    const { stderr } = await run('import', '--store', at('store'), at('file.layer'));
    const [, id] = /is (\w{12}) now; another is called next: `v86-virtiofs rename \1 NAME`/.exec(stderr)!;
    expect((await run('inspect', '--store', at('store'), 'next')).stderr).to.match(
      /several snapshots.*give the id of one/,
    );
    await inStore('remove', id!);
  });

  it('remove and gc give room back, and keep what others need', async () => {
    await inStore('remove', 'base');
    await inStore('gc');
    expect(await inStore('restore', 'next', '--', 'cat', 'other')).to.equal('more\n');
    await inStore('remove', 'next');
    await inStore('gc');
    expect(readdirSync(at('store'))).to.deep.equal(['.lock']);
  });

  it('says what there is when a name is wrong', async () => {
    const { code, stderr } = await run('inspect', '--store', at('other'), 'nobody');
    expect([code, stderr]).to.deep.equal([125, 'v86-virtiofs: no snapshot is called "nobody": there are next\n']);
  });
});
