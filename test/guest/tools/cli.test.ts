import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ensureGuestImage } from '../../../guest-images/build.ts';
import { useCli } from '../../support/cli.ts';

describe('command line', function () {
  this.timeout(300_000);
  const { run } = useCli();
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cli-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  it('--help tells every command, and each its options with examples', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).to.equal(0);
    for (const word of ['run', 'shell', 'demo']) expect(stdout).to.match(new RegExp(`^  ${word} `, 'm'));
    expect((await run(['run', '--help'])).stdout)
      .to.contain('--share')
      .and.to.contain('Examples:')
      .and.to.contain('Exit codes:');
  });

  it('run passes arguments, stdin, output and the exit code through', async () => {
    const { code, stdout, stderr } = await run(
      ['run', '--', 'sh', '-c', 'cat; echo "$1" >&2; exit 7', 'sh', 'an argument'],
      { input: 'from stdin\n' },
    );
    expect({ code, stdout, stderr }).to.deep.equal({ code: 7, stdout: 'from stdin\n', stderr: 'an argument\n' });
  });

  it('run shares a copy of a host directory, and carries changes back only when asked', async () => {
    writeFileSync(join(directory, 'file'), 'host\n');
    expect((await run(['run', '--share', directory, '--', 'sh', '-c', 'cat file; echo guest > file'])).stdout).to.equal(
      'host\n',
    );
    expect(readFileSync(join(directory, 'file'), 'utf8')).to.equal('host\n');
    expect(
      (
        await run([
          'run',
          '--share',
          directory,
          '--write-back',
          '--tag',
          'mine',
          '--',
          'sh',
          '-c',
          'pwd; echo guest > file',
        ])
      ).stdout,
    ).to.equal('/mnt/mine\n');
    expect(readFileSync(join(directory, 'file'), 'utf8')).to.equal('guest\n');
  });

  it('run gives a share the size that is asked for', async () => {
    const { stdout } = await run(['run', '--size', '64M', '--', 'sh', '-c', 'df -k . | tail -1']);
    expect(stdout).to.match(/^share +65536 /);
  });

  it('run shares what is in an archive, and saves it to others', async () => {
    const sources = join(directory, 'sources');
    mkdirSync(join(sources, 'sub'), { recursive: true });
    writeFileSync(join(sources, 'sub/script'), '#!/bin/sh\necho "from the archive"\n', { mode: 0o755 });
    execFileSync('tar', ['czf', 'in.tar.gz', '-C', sources, '.'], { cwd: directory });
    const [archive, json] = [join(directory, 'in.tar.gz'), join(directory, 'out.json')];
    const changes = 'sub/script; echo text > "new file"; ln sub/script hard; ln -s hard soft; mkdir empty';
    const { stdout, stderr, code } = await run([
      'run',
      '--share',
      archive,
      '--write-back',
      '--save',
      json,
      '--',
      'sh',
      '-c',
      changes,
    ]);
    expect({ stdout, code }).to.deep.equal({ stdout: 'from the archive\n', code: 1 });
    expect(stderr).to.match(/not written to .*out.json: soft: /);
    expect(JSON.parse(readFileSync(json, 'utf8'))).to.deep.equal({
      '/sub/script': '#!/bin/sh\necho "from the archive"\n',
      '/hard': '#!/bin/sh\necho "from the archive"\n',
      '/new file': 'text\n',
      '/empty': null,
    });
    const listing = execFileSync('tar', ['tvzf', archive], { encoding: 'utf8' });
    expect(listing)
      .to.match(/^drwx.* sub\/$/m)
      .and.to.match(/^hrwxr-xr-x.* (hard|sub\/script) link to/m)
      .and.to.match(/^l.* soft -> hard$/m)
      .and.to.match(/^-rw.* 5 .* new file$/m);
    expect((await run(['run', '--share', json, '--', 'cat', 'new file'])).stdout).to.equal('text\n');
  });

  it('a command runs with the variables, directory, user and time that it is given', async () => {
    const asked = [
      '-e',
      'A=b=c',
      '--env',
      'FROM_HERE',
      '-w',
      'sub/..',
      '-u',
      '1000:1001',
      '--timeout',
      '200',
      '--cmdline',
      'word=1',
    ];
    const { code, stdout } = await run(
      [
        'run',
        ...asked,
        '--',
        'sh',
        '-c',
        'echo $A $FROM_HERE $(id -u):$(id -g) $(pwd) $(grep -c word=1 /proc/cmdline)',
      ],
      { env: { FROM_HERE: 'here' } },
    );
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: 'b=c here 1000:1001 /mnt/share 1\n' });
    expect((await run(['run', '--timeout', '0.5', '--', 'sleep', '100'])).code).to.equal(124);
  });

  it('a user is at home where the guest’s list of users says, but for what is given @long', async () => {
    const tell = ['--', 'sh', '-c', 'echo $HOME,$USER,$LOGNAME,$(id -u)'];
    const said = async (...args: string[]) => (await run(['run', ...args, ...tell])).stdout;
    expect(await said('-u', 'root')).to.equal('/root,root,root,0\n');
    expect(await said('-u', '1000')).to.equal('/tmp,user,user,1000\n');
    expect(await said('-u', '0:1000', '-e', 'HOME=/tmp', '-e', 'USER=me')).to.equal('/tmp,me,root,0\n');
  });

  it('a program that is missing or can’t be run, and a directory that is missing, have exit codes as in a shell @long', async () => {
    const cases: [string[], number, RegExp][] = [
      [
        ['--', 'nope'],
        127,
        /^v86-virtiofs: the guest has no program "nope", or not the interpreter that its first line names\n$/,
      ],
      [['--', '/etc/passwd'], 126, /^v86-virtiofs: the guest can't run "\/etc\/passwd": it is not an executable file/],
      [
        ['-w', '/none', '--', 'ls'],
        126,
        /^v86-virtiofs: the guest can't run "ls": its working directory \/none does not exist\n$/,
      ],
      [['-w', '/etc/passwd', '--', 'ls'], 126, /working directory \/etc\/passwd is not a directory\n$/],
      [['-u', '1000', '--', 'nope'], 127, /nope: not found\n$/],
    ];
    for (const [args, expected, says] of cases) {
      const { code, stderr } = await run(['run', ...args]);
      expect(code, args.join(' ')).to.equal(expected);
      expect(stderr).to.match(says);
    }
  });

  it('a kernel of one’s own boots direct, packed and unpacked, without a BIOS @long', async () => {
    const { kernel, vmlinux, initrd, release } = await ensureGuestImage();
    for (const file of [kernel, vmlinux]) {
      expect(
        await run(['run', '--kernel', file, '--initrd', initrd, '--boot', 'direct', '--', 'uname', '-r']),
      ).to.deep.include({ code: 0, stdout: `${release}\n` });
    }
  });

  const refused: { name: string; args: string[]; says: RegExp }[] = [
    {
      name: 'an unknown option',
      args: ['run', '--shar', '/tmp', '--', 'true'],
      says: /unknown option '--shar'[\s\S]*--share[\s\S]*--help/,
    },
    { name: 'an unknown command', args: ['fly'], says: /unknown command 'fly'/ },
    {
      name: 'a tag with a newline',
      args: ['run', '--tag', 'a\nb', '--', 'true'],
      says: /tag "a\\nb" has a newline.*choose another/,
    },
    ...['--tag', '--share', '--save', '--kernel', '--initrd', '--bios'].map((option) => ({
      name: `an empty ${option}`,
      args: ['run', option, '', '--', 'true'],
      says: new RegExp(`${option} is empty: give it a value, or leave it out`),
    })),
    { name: 'an empty --store', args: ['list', '--store', ''], says: /--store is empty/ },
    { name: 'no command for the guest', args: ['run'], says: /missing required argument 'command'/ },
    {
      name: 'a share that is not there',
      args: ['run', '--share', '/no/such', '--', 'true'],
      says: /\/no\/such does not exist/,
    },
    { name: 'a tag that is too long', args: ['run', '--tag', 'x'.repeat(37), '--', 'true'], says: /37 bytes.*1 to 36/ },
    {
      name: 'more tags than shares',
      args: ['run', '--tag', 'a', '--tag', 'b', '--', 'true'],
      says: /2 tags for one share/,
    },
    { name: 'memory that is no number', args: ['run', '--memory', 'much', '--', 'true'], says: /whole number of MiB/ },
    {
      name: 'an archive of no form',
      args: ['run', '--save', 'x.zip', '--', 'true'],
      says: /can't save to x.zip: its name must end in .tar/,
    },
    {
      name: 'an archive in no directory',
      args: ['run', '--save', '/no/such/x.tar', '--', 'true'],
      says: /\/no\/such does not exist; make it first/,
    },
    {
      name: 'an archive that is a directory',
      args: ['shell', '--save', '/proc/self/x.tar'],
      says: /can't save to \/proc\/self\/x.tar: /,
    },
    {
      name: 'an archive that can’t be written back',
      args: ['run', '--share', '/proc/self/x.json', '--write-back', '--', 'true'],
      says: /can't save to \/proc\/self\/x.json: /,
    },
    {
      name: 'a size without a unit',
      args: ['run', '--size', '512', '--', 'true'],
      says: /number and a unit, K, M, G or T/,
    },
    {
      name: 'a share that is larger than its size',
      args: ['run', '--size', '8K', '--share', new URL('../../../device/fs', import.meta.url).pathname, '--', 'true'],
      says: /does not fit into the share, which holds 8 KiB.*--size/,
    },
    {
      name: 'an initial RAM disk without a kernel',
      args: ['run', '--initrd', '/no/initrd', '--', 'true'],
      says: /has its own initial RAM disk: give --kernel FILE with --initrd/,
    },
    {
      name: 'memory too small for the BIOS road',
      args: ['run', '-m', '64', '--boot', 'bios', '--', 'true'],
      says: /64 MiB of memory are not enough.*give at least \d+, or boot direct/,
    },
    {
      name: 'a BIOS that is not used',
      args: ['run', '--bios', '/no/bios', '--boot', 'direct', '--', 'true'],
      says: /takes no BIOS/,
    },
    { name: 'owners of nothing', args: ['run', '--owners', '--', 'true'], says: /--owners says what --write-back/ },
    { name: 'write-back to nowhere', args: ['run', '--write-back', '--', 'true'], says: /nothing to write back to/ },
    { name: 'the old -w', args: ['run', '-w', '--', 'true'], says: /--write-back has no short form/ },
    { name: 'an empty word', args: ['run', '--', ''], says: /the program's name is empty/ },
    {
      name: 'a driver that can’t suspend',
      args: ['suspend', '--driver', 'stock'],
      says: /can't suspend: leave out --driver stock/,
    },
    { name: 'a time that is none', args: ['run', '--timeout', '0', '--', 'true'], says: /number of seconds above 0/ },
    { name: 'a variable without a name', args: ['run', '-e', '=x', '--', 'true'], says: /Give NAME=VALUE/ },
    {
      name: 'a guest image that is not there',
      args: ['run', '--kernel', '/no/kernel', '--initrd', '/no/initrd', '--', 'true'],
      says: /\/no\/kernel/,
    },
  ];
  for (const { name, args, says } of refused) {
    it(`${name}: exit code 125 and the cure`, async () => {
      const { code, stderr } = await run(args);
      expect(stderr).to.match(says);
      expect(stderr).not.to.match(/^ +at /m);
      expect(code).to.equal(125);
    });
  }
});
