import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { useCli } from '../support/cli.ts';

/** A title for the terminal, a colour by C1, a change of direction, a byte that is not UTF-8, a line of its own. */
const HOSTILE = Buffer.concat([
  Buffer.from('evil\x1b]0;PWNED\x07\u009b31m\u202egpj\u2028'),
  Buffer.of(0xff),
  Buffer.from('\nrm -rf\r'),
]);
const SHOWN = 'evil\\x1b]0;PWNED\\x07\\x9b31m\\u202egpj\\u2028\\xff\\x0arm -rf\\x0d';

describe('names that would steer a terminal', function () {
  this.timeout(300_000);
  const { run } = useCli();
  let directory: string;
  let share: string;
  let server: Server;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'names-'));
    share = join(directory, 'share');
    mkdirSync(share);
    writeFileSync(Buffer.concat([Buffer.from(`${share}/`), HOSTILE]), 'x');
    // What can't be taken along is told by name.
    server = createServer().listen(join(share, 's\x1b]0;PWNED\x07\u202e'));
    await once(server, 'listening');
  });
  after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });

  const isHarmless = (text: string) =>
    expect(text.replaceAll('\n', '')).to.match(/^[^\p{Cc}\p{Cf}\p{Cs}\u2028\u2029\ufffd]*$/u);

  it('are shown, and not obeyed: what run, freeze, list, inspect and diff say', async () => {
    const store = join(directory, 'store');
    const make = 'for name in *; do [ -f "$name" ] && mkfifo "p$name"; done; true';
    const ran = await run([
      'run',
      '-v',
      '--share',
      share,
      '--write-back',
      '--save',
      join(directory, 'a.json'),
      '--',
      'sh',
      '-c',
      `${make}; printf "\\033]0;console\\007\\n" >/dev/console`,
    ]);
    expect(ran.code).to.equal(1);
    expect(ran.stderr).to.contain(`not written to ${share}: p${SHOWN}`).and.to.contain('guest | ');
    expect(ran.stderr).to.contain(`not taken from ${share}: s\\x1b]0;PWNED\\x07\\u202e: `);
    isHarmless(ran.stderr);
    const froze = await run([
      'freeze',
      '--store',
      store,
      '--name',
      'name\x1b[2J',
      '--share',
      share,
      '--',
      'sh',
      '-c',
      `${make}; for name in evil*; do exec 3< "$name"; sleep 1000 & done`,
    ]);
    const second = await run([
      'restore',
      '--store',
      store,
      '--name',
      'second',
      'name\x1b[2J',
      '--',
      'sh',
      '-c',
      'for name in evil*; do cp "$name" "c$name"; done',
    ]);
    expect([froze.code, second.code]).to.deep.equal([0, 0]);
    isHarmless(froze.stderr);
    isHarmless(second.stderr);
    const asked = [
      ['list'],
      ['inspect', '--files', 'second'],
      ['inspect', '--json', '--files', 'second'],
      ['diff', 'name\x1b[2J', 'second'],
      ['list', '--json'],
      ['verify', 'no\x1b[2J'],
    ];
    for (const [command, ...args] of asked) {
      const { stdout, stderr } = await run([command!, '--store', store, ...args]);
      isHarmless(stdout);
      isHarmless(stderr);
      if (command === 'diff') expect(stdout).to.contain(`+ /c${SHOWN}`);
      if (command === 'verify') expect(stderr).to.match(/no\\u001b\[2J/);
    }
  });
});
