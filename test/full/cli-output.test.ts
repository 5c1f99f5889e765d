import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { useCli } from '../support/cli.ts';
import { COMMANDS, has, nameOf } from '../support/commands.ts';
import { CLI } from '../support/compiled-cli.ts';
import { Terminal } from '../support/terminal.ts';

const SNAPSHOT = new URL('../snapshots/v3.layer', import.meta.url).pathname;
const SOURCE = new URL('../../device/fs', import.meta.url).pathname;

describe('command line: what each command prints', function () {
  this.timeout(120_000);
  const { run } = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'cli-output-'));
  after(() => rmSync(directory, { recursive: true }));
  const at = (name: string) => join(directory, name);
  /** In this order, as they build upon each other. The commands that are left out need a guest: see test/guest/tools/cli-json. */
  const sequence: string[][] = [
    ['import', SNAPSHOT],
    ['list'],
    ['inspect', '--files', 'golden'],
    ['diff', 'golden', 'golden'],
    ['export', 'golden', at('out.layer')],
    ['verify'],
    ['rename', 'golden', 'other'],
    ['settle', 'other', '--runs-here'],
    ['remove', 'other'],
    ['gc'],
    ['doctor'],
    ['image', 'build', SOURCE, at('a.image')],
    ['image', 'inspect', at('a.image')],
    ['image', 'ls', at('a.image')],
    ['image', 'verify', at('a.image')],
    ['image', 'diff', at('a.image'), at('a.image')],
    ['token'],
    ['completion', 'bash'],
    ['--version'],
    ['--help'],
  ];

  const commandOf = (words: string[]) => COMMANDS.find((each) => words.join(' ').startsWith(nameOf(each)));
  const titleOf = (words: string[]) => words.filter((word) => !word.startsWith('/')).join(' ');

  describe('as JSON: one value on stdout, and nothing else, or an error and nothing at all', () => {
    for (const words of sequence) {
      const command = commandOf(words);
      if (!command || !has(command, '--json')) continue;
      it(titleOf(words), async () => {
        const store = has(command, '--store') ? ['--store', at('json')] : [];
        const { code, stdout, stderr } = await run([...words, ...store, '--json']);
        const shown = `${words.join(' ')}: ${code}\n${stdout}${stderr}`;
        if (words[0] === 'settle') expect([code, stdout], shown).to.deep.equal([125, '']);
        else expect([code, typeof JSON.parse(stdout)], shown).to.deep.equal([0, 'object']);
      });
    }
  });

  describe('on a terminal, with NO_COLOR: no colors', () => {
    const env = { ...process.env, NO_COLOR: '1', TERM: 'xterm-256color', V86_VIRTIOFS_DAEMON: 'off' };
    for (const words of sequence) {
      it(titleOf(words), async () => {
        const command = commandOf(words);
        const store = command && has(command, '--store') ? ['--store', at('plain')] : [];
        const terminal = new Terminal([process.execPath, ...CLI, ...words, ...store], env);
        const code = await new Promise((closed) => terminal.child.on('close', closed));
        expect(code, terminal.said).to.equal(words[0] === 'settle' ? 125 : 0);
        expect(terminal.said, words.join(' ')).not.to.match(/\x1b\[[\d;]*m/);
      });
    }
  });
});
