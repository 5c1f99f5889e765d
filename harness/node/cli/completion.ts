import { Argument, type Command, type Option } from 'commander';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
const NAME = 'v86-virtiofs';

/** Adds `completion`. */
export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .summary('print what completes commands and options in your shell')
    .description('Prints a script that completes commands, options and their values.')
    .addArgument(new Argument('<shell>', 'which').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  source <(${NAME} completion bash)                                   # in ~/.bashrc
  source <(${NAME} completion zsh)                                    # in ~/.zshrc, behind compinit
  ${NAME} completion fish > ~/.config/fish/completions/${NAME}.fish`,
    )
    .action((shell: (typeof SHELLS)[number]) =>
      console.log(
        shell === 'fish'
          ? fish(program)
          : shell === 'zsh'
            ? `autoload -U +X bashcompinit && bashcompinit\n${bash(program)}`
            : bash(program),
      ),
    );
}

const visible = (command: Command) => command.options.filter(({ hidden }) => !hidden);
const flags = ({ short, long }: Option) => [short, long].filter((flag) => flag !== undefined);

/** Words of commander's definitions need no quoting in a shell: names, flags and choices. */
function bash(program: Command): string {
  const cases = program.commands.map((command) => {
    const choices = visible(command)
      .filter((option) => option.argChoices)
      .map((option) => `      ${flags(option).join('|')}) words="${option.argChoices!.join(' ')}" ;;`);
    const files = visible(command)
      .filter((option) => option.required && !option.argChoices)
      .map(flags);
    return `    ${command.name()})
      case "$before" in
${choices.join('\n')}${choices.length ? '\n' : ''}${files.length ? `      ${files.flat().join('|')}) words="" ;;\n` : ''}      *) words="${[...visible(command).flatMap(flags), '--help', ...argumentChoices(command)].join(' ')}" ;;
      esac ;;`;
  });
  return `_v86_virtiofs() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words="" n
  COMPREPLY=()
  for ((n = 1; n < COMP_CWORD; n++)); do [[ "\${COMP_WORDS[n]}" == -- ]] && return; done
  if ((COMP_CWORD == 1)); then
    words="${program.commands.map((command) => command.name()).join(' ')} --help --version"
  else
    case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    esac
  fi
  [[ -n "$words" ]] && COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _v86_virtiofs ${NAME}`;
}

function fish(program: Command): string {
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const at = (command: string) => `complete -c ${NAME} -n '__v86_virtiofs_at "${command}"'`;
  const help = (command: string) => `${at(command)} -l help -d 'print help'`;
  const lines = program.commands.flatMap((command) => [
    `${at('')} -f -a ${command.name()} -d ${quoted(command.summary())}`,
    ...visible(command).map((option) =>
      [
        at(command.name()),
        option.short && (option.short.startsWith('--') ? `-l ${option.short.slice(2)}` : `-s ${option.short.slice(1)}`),
        option.long && `-l ${option.long.slice(2)}`,
        option.required && '-r',
        option.argChoices && `-f -a '${option.argChoices.join(' ')}'`,
        `-d ${quoted(option.description)}`,
      ]
        .filter(Boolean)
        .join(' '),
    ),
    help(command.name()),
    ...argumentChoices(command).map((choice) => `${at(command.name())} -f -a ${choice}`),
  ]);
  return `function __v86_virtiofs_at
  set -l words (commandline -opc)
  contains -- -- $words; and return 1
  test "$words[2]" = "$argv[1]"
end
${lines.join('\n')}
${help('')}
${at('')} -l version -d 'print the versions of this package and of v86'`;
}

/** Values of its arguments, and the commands below it. */
function argumentChoices(command: Command): string[] {
  return [
    ...command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    ...command.commands.map((below) => below.name()),
  ];
}
