import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Option } from 'commander';
import { makeProgram } from '../../../../harness/node/cli/program.ts';
import { useCli } from '../../../support/cli.ts';
import { type Complete, loadShells, type Shell } from '../../../support/shells.ts';

const are =
  (...words: string[]) =>
  (offered: string[], line: string) =>
    expect(offered, line).to.have.members(words);

/** Those that `--` is the beginning of: `--append`, which is another name of `--cmdline`, is a short one to commander. */
const longFlags = ({ short, long }: Option) =>
  [short, long].filter((flag) => flag?.startsWith('--') === true) as string[];

describe('completion, and versions', function () {
  this.timeout(60_000);
  const { run } = useCli();

  describe('in the shells themselves', function () {
    this.timeout(180_000);
    let shells: Record<Shell, Complete>;
    before(async () => (shells = await loadShells()));

    for (const shell of ['bash', 'zsh', 'fish'] as const) {
      it(`${shell} completes commands, options and choices, and leaves the guest’s command alone`, async () => {
        const { stdout: script } = await run(['completion', shell]);
        const commands = makeProgram().commands;
        const expected: [string, (offered: string[], line: string) => void][] = [
          ['', (offered) => expect(offered).to.include.members(commands.map((command) => command.name()))],
          ['--', (offered) => expect(offered).to.include.members(['--help', '--version'])],
          ['fr', are('freeze')],
          ...commands.map((command): (typeof expected)[0] => [
            `${command.name()} --`,
            are('--help', ...command.options.filter(({ hidden }) => !hidden).flatMap(longFlags)),
          ]),
          ['run --boot ', are('direct', 'bios')],
          ['completion z', are('zsh')],
          ['run --share ', are()],
          ['restore run --driv', are()],
          ['run -- ls --', are()],
          ['run -- fr', are()],
        ];
        const offered = shells[shell](
          script,
          expected.map(([line]) => `v86-virtiofs ${line}`),
        );
        expect(offered).to.have.length(expected.length);
        expected.forEach(([line, check], n) => check(offered[n]!, line));
      });
    }
  });

  it('--version tells this package’s and v86’s', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    const { code, stdout } = await run(['--version']);
    expect(code).to.equal(0);
    expect(stdout).to.match(new RegExp(`^v86-virtiofs ${version.replaceAll('.', '\\.')}, v86 0\\.5\\.\\d+\\S*\\n$`));
  });
});
