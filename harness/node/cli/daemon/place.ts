import { lstatSync, type Stats, statSync } from 'node:fs';

/** Names the daemon's socket; `off` for none. */
export const DAEMON_VARIABLE = 'V86_VIRTIOFS_DAEMON';

/** Where the daemon of this user listens; undefined where there can be none, or none is wanted. */
export function socketPath(): string | undefined {
  const { env } = process;
  const given = env[DAEMON_VARIABLE];
  if (given === 'off' || !process.getuid) return undefined;
  if (given) return given;
  const runtime = env['XDG_RUNTIME_DIR'];
  return runtime
    ? `${runtime}/v86-virtiofs/daemon.sock`
    : `${env['TMPDIR'] || '/tmp'}/v86-virtiofs-${process.getuid()}.run/daemon.sock`;
}

/** The directory that a path is in. */
export function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || (path.startsWith('/') ? '/' : '.');
}

function look(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** Why nobody should trust what is in this directory: others could put something else there. */
export function distrust(directory: string): string | undefined {
  const stats = look(directory);
  if (!stats?.isDirectory()) return `${directory} is not a directory`;
  if (stats.uid !== process.getuid!()) return `${directory} belongs to another user`;
  if ((stats.mode & 0o077) !== 0) return `${directory} is open to other users`;
  return undefined;
}

/** Whether there is a socket of this user's, where only this user can put one. */
export function isTrusted(path: string): boolean {
  try {
    const stats = look(path);
    return stats?.isSocket() === true && stats.uid === process.getuid!() && distrust(directoryOf(path)) === undefined;
  } catch {
    return false;
  }
}

/** Tells one file or directory from another. */
export function identityOf(path: string): string {
  const { dev, ino } = statSync(path);
  return `${dev}:${ino}`;
}

/** Tells this build of the program from others, though they have the same version. */
export function buildIdentity(): string {
  const { dev, ino, mtimeMs, size } = statSync(process.argv[1]!);
  return `${process.version} ${dev}:${ino} ${mtimeMs} ${size}`;
}
