import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { makeProgram } from '../../../../harness/node/cli/program.ts';
import { useCli } from '../../../support/cli.ts';

describe('completion, and versions', function () {
  this.timeout(60_000);
  const { run } = useCli();

  it('bash completes commands, options and choices, and leaves the guest’s command alone', async () => {
    const { stdout: script } = await run(['completion', 'bash']);
    const complete = (...words: string[]) =>
      execFileSync(
        'bash',
        [
          '-c',
          `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _v86_virtiofs; printf '%s\\n' "\${COMPREPLY[@]}"`,
          'bash',
          'v86-virtiofs',
          ...words,
        ],
        { encoding: 'utf8' },
      )
        .trim()
        .split('\n');
    expect(complete('')).to.include.members([...makeProgram().commands.map((command) => command.name()), '--version']);
    expect(complete('fr')).to.deep.equal(['freeze']);
    for (const command of makeProgram().commands) {
      expect(complete(command.name(), '--'), command.name()).to.have.members([
        ...command.options.filter(({ hidden }) => !hidden).map(({ long }) => long!),
        '--help',
      ]);
    }
    expect(complete('run', '--boot', '')).to.deep.equal(['direct', 'bios']);
    expect(complete('completion', 'z')).to.deep.equal(['zsh']);
    expect(complete('run', '--share', '')).to.deep.equal(['']);
    expect(complete('run', '--', 'ls', '--')).to.deep.equal(['']);
  });

  it('fish and zsh have scripts of their own', async () => {
    const [zsh, fish] = await Promise.all(
      ['zsh', 'fish'].map(async (shell) => (await run(['completion', shell])).stdout),
    );
    expect(zsh).to.match(/^autoload -U \+X bashcompinit && bashcompinit\n_v86_virtiofs\(\)/);
    for (const command of makeProgram().commands) expect(fish).to.contain(`-f -a ${command.name()} -d '`);
    expect(fish).to.match(/__fish_seen_subcommand_from run' -l boot -r -f -a 'direct bios' -d /);
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
