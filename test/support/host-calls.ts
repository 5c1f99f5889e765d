import type * as Fs from 'node:fs';

/** What a host may have in a directory. The special ones are made by the guest, or by `mknod`. */
export const KINDS = ['file', 'directory', 'full', 'link', 'dangling', 'dirlink', 'loop', 'missing', 'below'] as const;
export const SPECIAL = ['fifo', 'socket', 'char', 'block'] as const;
export type Kind = (typeof KINDS)[number] | (typeof SPECIAL)[number];

type Host = typeof Fs;

const stream = (run: (done: (error?: unknown) => void) => void) =>
  new Promise<void>((resolve, reject) => run((error) => (error ? reject(error as Error) : resolve())));

/**
 * Calls of the `fs` API on a path, by name. What they return is compared with Node's on a real directory; those of `promises` and
 * streams have to agree with their synchronous sisters.
 */
export const CALLS: Record<string, (fs: Host, path: string, other: string) => unknown> = {
  stat: (fs, path) => fs.statSync(path).mode & 0o170000,
  lstat: (fs, path) => fs.lstatSync(path).mode & 0o170000,
  exists: (fs, path) => fs.existsSync(path),
  access: (fs, path) => fs.accessSync(path),
  readlink: (fs, path) => fs.readlinkSync(path),
  readdir: (fs, path) => [...(fs.readdirSync(path) as string[])].sort(),
  readFile: (fs, path) => fs.readFileSync(path, 'utf8'),
  'promises.readFile': (fs, path) => fs.promises.readFile(path, 'utf8'),
  'stream read': (fs, path) =>
    stream((done) =>
      fs
        .createReadStream(path)
        .on('error', done)
        .on('close', () => done())
        .resume(),
    ),
  writeFile: (fs, path) => fs.writeFileSync(path, 'x'),
  'promises.writeFile': (fs, path) => fs.promises.writeFile(path, 'x'),
  'stream write': (fs, path) =>
    stream((done) =>
      fs
        .createWriteStream(path)
        .on('error', done)
        .on('close', () => done())
        .end('x'),
    ),
  appendFile: (fs, path) => fs.appendFileSync(path, 'x'),
  'promises.appendFile': (fs, path) => fs.promises.appendFile(path, 'x'),
  truncate: (fs, path) => fs.truncateSync(path, 1),
  'open r, write': (fs, path) => fs.writeSync(fs.openSync(path, 'r'), 'x'),
  'open r+, write': (fs, path) => fs.writeSync(fs.openSync(path, 'r+'), 'x'),
  'open w, write': (fs, path) => fs.writeSync(fs.openSync(path, 'w'), 'x'),
  'open wx': (fs, path) => void fs.closeSync(fs.openSync(path, 'wx')),
  'open a, write': (fs, path) => fs.writeSync(fs.openSync(path, 'a'), 'x'),
  'open w, read': (fs, path) => fs.readSync(fs.openSync(path, 'w'), Buffer.alloc(4)),
  'open r, ftruncate': (fs, path) => fs.ftruncateSync(fs.openSync(path, 'r+'), 1),
  chmod: (fs, path) => fs.chmodSync(path, 0o640),
  chown: (fs, path) => fs.chownSync(path, 1, 1),
  utimes: (fs, path) => fs.utimesSync(path, 1, 2),
  mkdir: (fs, path) => fs.mkdirSync(path),
  'mkdir below': (fs, path) => fs.mkdirSync(`${path}/new`),
  'write below': (fs, path) => fs.writeFileSync(`${path}/new`, 'x'),
  'symlink below': (fs, path) => fs.symlinkSync('target', `${path}/new`),
  'link below': (fs, path, other) => (fs.writeFileSync(other, 'other'), fs.linkSync(other, `${path}/new`)),
  'rename below': (fs, path, other) => (fs.writeFileSync(other, 'other'), fs.renameSync(other, `${path}/new`)),
  rmdir: (fs, path) => fs.rmdirSync(path),
  unlink: (fs, path) => fs.unlinkSync(path),
  rm: (fs, path) => fs.rmSync(path),
  'rm all': (fs, path) => fs.rmSync(path, { recursive: true, force: true }),
  'rename away': (fs, path, other) => fs.renameSync(path, other),
  'rename over': (fs, path, other) => (fs.writeFileSync(other, 'other'), fs.renameSync(other, path)),
  'link from': (fs, path, other) => fs.linkSync(path, other),
  'link to': (fs, path, other) => (fs.writeFileSync(other, 'other'), fs.linkSync(other, path)),
  symlink: (fs, path) => fs.symlinkSync('target', path),
  'copyFile from': (fs, path, other) => fs.copyFileSync(path, other),
  'copyFile to': (fs, path, other) => (fs.writeFileSync(other, 'other'), fs.copyFileSync(other, path)),
};

/** The error's code, or what came of it. */
export async function outcome(call: () => unknown): Promise<string> {
  try {
    return JSON.stringify(await call()) ?? 'ok';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code ?? `no code: ${String(error)}`;
  }
}

/** What is in a directory, and in the files there: a call that says the same may have done something else. */
export function treeOf(fs: Host, top: string): string[] {
  return (fs.readdirSync(top) as string[]).sort().flatMap((name) => {
    const path = `${top}/${name}`;
    const stats = fs.lstatSync(path);
    if (stats.isDirectory()) return [`${name}/`, ...treeOf(fs, path).map((below) => `${name}/${below}`)];
    if (stats.isSymbolicLink()) return [`${name} -> ${fs.readlinkSync(path) as string}`];
    return [stats.isFile() ? `${name}: ${fs.readFileSync(path, 'utf8') as string}` : `${name} is special`];
  });
}

/** Makes one of each of {@link KINDS}, in `top`. */
export function furnish(fs: Host, top: string): void {
  fs.writeFileSync(`${top}/file`, 'content');
  fs.mkdirSync(`${top}/directory`);
  fs.mkdirSync(`${top}/full`);
  fs.writeFileSync(`${top}/full/within`, '');
  fs.symlinkSync('file', `${top}/link`);
  fs.symlinkSync('nowhere', `${top}/dangling`);
  fs.symlinkSync('full', `${top}/dirlink`);
  fs.symlinkSync('loop', `${top}/loop`);
}

/** Where one of a kind is. */
export function pathOf(top: string, kind: Kind): string {
  return kind === 'below' ? `${top}/file/below` : `${top}/${kind}`;
}
