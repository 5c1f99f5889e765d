import type { ModelFilesystem } from './model-filesystem.ts';

/** Steps that meet each other often: few names, few handles, small files with edges in the right places. */
export function* randomSteps(random: (below: number) => number, model: ModelFilesystem): Generator<string> {
  const pick = <T>(from: readonly T[]): T => from[random(from.length)]!;
  const names = ['a', 'b', 'c', 'd'];
  const path = () =>
    random(3) ? pick([...model.paths(), 'a', 'b']) : `${random(2) ? `${pick(names)}/` : ''}${pick(names)}`;
  const place = () => {
    const dir = pick(['', '', 'a/', 'b/', 'a/b/', 'c/']);
    return dir + pick(names);
  };
  const handle = () => pick([...model.handles.keys()]);
  const offset = () => pick([0, 1, 100, 4095, 4096, 4097, 8192, 65535, 65536, 70_000, random(100_000)]);
  const words = ['x', 'hello', 'y'.repeat(5000), 'z'.repeat(4096), 'w'.repeat(70_000)];
  /** By whom, and where: memfs follows links on the way, so the host stays at the top. */
  const by = (where: () => string): [string, string] => (random(6) ? ['', where()] : ['host-', pick(names)]);
  for (;;) {
    const kinds = [
      'mkdir',
      'create',
      'symlink',
      'link',
      'unlink',
      'rmdir',
      'rename',
      'rename',
      'chmod',
      'chown',
      'truncate',
      'open',
      'open',
      'xattr',
      'ls',
      'mknod',
    ];
    const withHandle = [
      'write',
      'write',
      'write',
      'read',
      'read',
      'ftruncate',
      'fallocate',
      'fallocate',
      'copy',
      'copy',
      'close',
      'fstat',
      'linkfd',
    ];
    const kind = model.handles.size && random(2) ? pick(withHandle) : pick(kinds);
    switch (kind) {
      case 'mkdir':
        yield by(place).join('mkdir ');
        break;
      case 'create':
        yield `create ${place()}`;
        break;
      case 'mknod':
        yield `mknod ${place()} fifo 0600`;
        break;
      case 'symlink':
        yield by(place).join(`symlink ${pick(['nowhere', 'a', 'b/c'])} `);
        break;
      case 'link':
        yield random(6) ? `link ${path()} ${place()}` : `host-link ${pick(names)} ${pick(names)}`;
        break;
      case 'unlink':
        yield by(path).join('unlink ');
        break;
      case 'rmdir':
        yield by(path).join('rmdir ');
        break;
      case 'rename':
        yield random(6)
          ? `rename ${path()} ${place()} ${pick(['', '', '', 'noreplace', 'exchange', 'whiteout'])}`.trim()
          : `host-rename ${pick(names)} ${pick(names)}`;
        break;
      case 'chmod':
        yield `chmod ${path()} ${pick(['0600', '6755', '0000', '2644'])}`;
        break;
      case 'chown':
        yield `chown ${path()} ${random(3)} ${random(3)}`;
        break;
      case 'truncate':
        yield `truncate ${path()} ${offset()}`;
        break;
      case 'open':
        if (model.handles.size > 8) yield `close ${handle()}`;
        else
          yield `open ${pick([...'ghijklmnop'].filter((name) => !model.handles.has(name)))} ${random(8) ? `${place()} ${pick(['O_CREAT|O_RDWR', 'O_CREAT|O_RDWR|O_TRUNC', 'O_CREAT|O_RDWR|O_APPEND'])}` : '. O_TMPFILE|O_RDWR'}`;
        break;
      case 'xattr': {
        const name = `user.${pick(names)}`;
        yield pick([
          `setxattr ${path()} ${name} ${pick(['v', 'w'.repeat(300)])} ${pick(['', 'create', 'replace'])}`.trim(),
          `getxattr ${path()} ${name}`,
          `removexattr ${path()} ${name}`,
          `listxattr ${path()}`,
        ]);
        break;
      }
      case 'ls':
        yield `ls ${pick(['.', path()])}`;
        break;
      case 'write':
        yield `write ${handle()} ${offset()} ${pick(words)}`;
        break;
      case 'read':
        yield `read ${handle()} ${offset()} ${pick([1, 10, 5000, 60_000])}`;
        break;
      case 'ftruncate':
        yield `ftruncate ${handle()} ${offset()}`;
        break;
      case 'fallocate':
        yield `fallocate ${handle()} ${pick(['0', 'keep', 'punch', 'zero', 'zero-keep', 'collapse', 'insert'])} ${offset()} ${pick([1, 10, 4096, 8192, 65536, 5000])}`;
        break;
      case 'copy':
        yield `copy ${handle()} ${offset()} ${handle()} ${offset()} ${pick([1, 4096, 65536, 100_000])}`;
        break;
      case 'close':
        yield `close ${handle()}`;
        break;
      case 'fstat':
        yield `fstat ${handle()}`;
        break;
      case 'linkfd':
        yield `linkfd ${handle()} ${place()}`;
        break;
    }
  }
}
