import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureHostPackages } from '../../guest-images/userland.ts';

/** Debian's, and what they need beside libc. */
const PACKAGES = ['zsh', 'zsh-common', 'libcap2', 'libtinfo6', 'fish', 'fish-common', 'libpcre2-32-0'];

export type Shell = 'bash' | 'zsh' | 'fish';

/** What a shell offers for the last word of each line, in an empty directory. `script` defines the completions; words have no spaces. */
export type Complete = (script: string, lines: string[]) => string[][];

/** The machine's bash, and Debian's zsh and fish, which are fetched when they are first asked for. */
export async function loadShells(): Promise<Record<Shell, Complete>> {
  const root = await ensureHostPackages(PACKAGES);
  const libraries = readdirSync(join(root, 'usr/lib')).filter((name) => name.includes('-linux-'));
  const LD_LIBRARY_PATH = libraries.flatMap((name) => [join(root, 'usr/lib', name), join(root, 'lib', name)]).join(':');
  const zsh = join(root, 'bin/zsh');
  const zshModules = join(root, 'usr/lib', libraries[0]!, 'zsh');

  /** `program` prints what is offered for a line, and DONE after it. */
  const shell =
    (env: NodeJS.ProcessEnv, program: string, ...args: string[]): Complete =>
    (script, lines) => {
      const home = mkdtempSync(join(tmpdir(), 'shell-'));
      try {
        writeFileSync(join(home, '.completions'), script);
        const output = execFileSync(program, [...args, ...lines], {
          encoding: 'utf8',
          cwd: home,
          env: { ...process.env, HOME: home, TERM: 'dumb', ...env },
          timeout: 60_000,
        });
        return output
          .split('DONE\n')
          .slice(0, -1)
          .map((offered) => offered.split(/\s+/).filter(Boolean));
      } finally {
        rmSync(home, { recursive: true });
      }
    };

  return {
    bash: shell({}, 'bash', '-c', BASH, 'bash'),
    zsh: shell(
      { LD_LIBRARY_PATH, INNER: INNER_ZSH, FUNCTIONS: join(root, 'usr/share/zsh/functions') },
      zsh,
      '-f',
      '-c',
      ZSH,
      zsh,
      join(zshModules, readdirSync(zshModules)[0]!),
    ),
    fish: shell(
      { LD_LIBRARY_PATH, FUNCTIONS: join(root, 'usr/share/fish/functions') },
      join(root, 'usr/bin/fish'),
      '--no-config',
      '-c',
      FISH,
    ),
  };
}

const BASH = `
source ./.completions
for line; do
  [[ $line == *' ' ]] && last=('') || last=()
  COMP_WORDS=($line "\${last[@]}") COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
  _v86_virtiofs
  printf '%s\\n' "\${COMPREPLY[@]}" DONE
done
`;

/** An interactive one in a terminal of zsh's own, because completions exist in its line editor only. */
const ZSH = `
module_path=($1) fpath=($FUNCTIONS/**/*(/N) $FUNCTIONS)
shift
zmodload zsh/zpty
zpty inner "$0 -f -i"
zpty -w inner "module_path=($module_path) fpath=($fpath); eval $INNER"
zpty -r inner output '*READY*'
for line; do
  zpty -w -n inner "$line"$'\x14'
  zpty -r inner output '*DONE*'
  print -r -- "$output" | tr -d '\r' | sed -n 's/^OFFERED //p'
  print DONE
done
zpty -d inner
`;

/** Tells what is offered, from where all completions of zsh come together. */
const INNER_ZSH = `
PROMPT= LISTMAX=10000
autoload -U compinit && compinit -D -u
source ./.completions
compadd() {
  local -a offered
  builtin compadd -O offered "$@"
  (( $#offered )) && print -r -- $'\n'"OFFERED \${(j: :)offered}"
  builtin compadd "$@"
}
complete-and-tell() { BUFFER=$BUFFER; zle complete-word; print -r -- $'\n'DONE; BUFFER=; }
zle -N complete-and-tell
bindkey '^T' complete-and-tell
echo REA""DY
`;

const FISH = `
set fish_function_path $FUNCTIONS
source ./.completions
for line in $argv
  complete -C $line | cut -f1
  echo DONE
end
`;
