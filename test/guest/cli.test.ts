import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useCli } from '../support/cli.ts';

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
    expect((await run(['run', '--help'])).stdout).to.contain('--share').and.to.contain('Examples:').and.to.contain('Exit codes:');
  });

  it('run passes arguments, stdin, output and the exit code through', async () => {
    const { code, stdout, stderr } = await run(['run', '--', 'sh', '-c', 'cat; echo "$1" >&2; exit 7', 'sh', 'an argument'], { input: 'from stdin\n' });
    expect({ code, stdout, stderr }).to.deep.equal({ code: 7, stdout: 'from stdin\n', stderr: 'an argument\n' });
  });

  it('run shares a copy of a host directory, and carries changes back only when asked', async () => {
    writeFileSync(join(directory, 'file'), 'host\n');
    expect((await run(['run', '--share', directory, '--', 'sh', '-c', 'cat file; echo guest > file'])).stdout).to.equal('host\n');
    expect(readFileSync(join(directory, 'file'), 'utf8')).to.equal('host\n');
    expect((await run(['run', '--share', directory, '--write-back', '--tag', 'mine', '--', 'sh', '-c', 'pwd; echo guest > file'])).stdout).to.equal('/mnt/mine\n');
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
    const { stdout, stderr, code } = await run(['run', '--share', archive, '--write-back', '--save', json, '--', 'sh', '-c', changes]);
    expect({ stdout, code }).to.deep.equal({ stdout: 'from the archive\n', code: 1 });
    expect(stderr).to.match(/not written to .*out.json: soft: /);
    expect(JSON.parse(readFileSync(json, 'utf8'))).to.deep.equal({
      '/sub/script': '#!/bin/sh\necho "from the archive"\n', '/hard': '#!/bin/sh\necho "from the archive"\n', '/new file': 'text\n', '/empty': null,
    });
    const listing = execFileSync('tar', ['tvzf', archive], { encoding: 'utf8' });
    expect(listing).to.match(/^drwx.* sub\/$/m).and.to.match(/^hrwxr-xr-x.* (hard|sub\/script) link to/m).and.to.match(/^l.* soft -> hard$/m).and.to.match(/^-rw.* 5 .* new file$/m);
    expect((await run(['run', '--share', json, '--', 'cat', 'new file'])).stdout).to.equal('text\n');
  });

  const refused: { name: string; args: string[]; says: RegExp }[] = [
    { name: 'an unknown option', args: ['run', '--shar', '/tmp', '--', 'true'], says: /unknown option '--shar'[^]*--share[^]*--help/ },
    { name: 'an unknown command', args: ['fly'], says: /unknown command 'fly'/ },
    { name: 'no command for the guest', args: ['run'], says: /missing required argument 'command'/ },
    { name: 'a share that is not there', args: ['run', '--share', '/no/such', '--', 'true'], says: /\/no\/such does not exist/ },
    { name: 'a tag that is too long', args: ['run', '--tag', 'x'.repeat(37), '--', 'true'], says: /37 bytes.*1 to 36/ },
    { name: 'more tags than shares', args: ['run', '--tag', 'a', '--tag', 'b', '--', 'true'], says: /2 tags for one share/ },
    { name: 'memory that is no number', args: ['run', '--memory', 'much', '--', 'true'], says: /whole number of MiB/ },
    { name: 'an archive of no form', args: ['run', '--save', 'x.zip', '--', 'true'], says: /can't save to x.zip: its name must end in .tar/ },
    { name: 'an archive in no directory', args: ['run', '--save', '/no/such/x.tar', '--', 'true'], says: /\/no\/such does not exist; make it first/ },
    { name: 'an archive that is a directory', args: ['shell', '--save', '/proc/self/x.tar'], says: /can't save to \/proc\/self\/x.tar: / },
    { name: 'an archive that can’t be written back', args: ['run', '--share', '/proc/self/x.json', '--write-back', '--', 'true'], says: /can't save to \/proc\/self\/x.json: / },
    { name: 'a size without a unit', args: ['run', '--size', '512', '--', 'true'], says: /number and a unit: K, M, G or T/ },
    { name: 'a share that is larger than its size', args: ['run', '--size', '8K', '--share', new URL('../../device/fs', import.meta.url).pathname, '--', 'true'], says: /does not fit into the share, which holds 8 KiB.*--size/ },
    { name: 'half a guest image', args: ['run', '--kernel', '/no/kernel', '--', 'true'], says: /--initrd FILE/ },
    { name: 'a guest image that is not there', args: ['run', '--kernel', '/no/kernel', '--initrd', '/no/initrd', '--', 'true'], says: /\/no\/kernel/ },
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
