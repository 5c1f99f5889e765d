import { VmError } from '../errors.ts';
import { printable } from '../printable.ts';

/** Ids, or names that the guest knows: `UID`, `UID:GID`. */
const USER = /^[\w.][\w.-]*(:[\w.][\w.-]*)?$/;

export function isUser(text: string): boolean {
  return USER.test(text);
}

/**
 * The words that run `argv` as somebody else, with HOME, USER and LOGNAME as su sets them, but for those in `env`.
 *
 * @throws VmError `configuration` for what names nobody.
 */
export function asUser(argv: readonly string[], user: string, env: Readonly<Record<string, string>> = {}): string[] {
  if (!isUser(user))
    throw new VmError('configuration', `${printable(JSON.stringify(user))} names no user: give UID, UID:GID, or names`);
  // The file of a process that runs already is looked for where there never is one; the shell tells of a missing program as shells do.
  return [
    ...['start-stop-daemon', '-S', '-p', '/proc/self/none', '-c', user, '-x', '/bin/sh', '--'],
    ...['-c', `${setHome(env)}exec "$@"`, 'sh'],
    ...argv,
  ];
}

/**
 * Shell words that set HOME, USER and LOGNAME as su does, from the guest's list of users, but for those that are given: start-stop-daemon
 * takes nobody who is not in it.
 */
function setHome(given: Readonly<Record<string, string>>): string {
  const set = (name: string, words: string) => (Object.hasOwn(given, name) ? '' : `${words}; `);
  const look =
    '__u=$(id -u); while IFS=: read -r __a __b __c __b __b __d __b; do if [ "$__c" = "$__u" ]; then __n=$__a __h=$__d; break; fi; done < /etc/passwd; ';
  const names = ['USER', 'LOGNAME'].map((name) => set(name, `export ${name}="$__n"`));
  return [look, set('HOME', 'export HOME="$__h"'), ...names].join('');
}
