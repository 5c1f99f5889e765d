/** rename(2) in every combination. */
const MAKE: Record<string, (name: string) => string> = {
  file: (name) => `create ${name}`,
  'empty directory': (name) => `mkdir ${name}`,
  'full directory': (name) => `mkdir ${name}\ncreate ${name}/inside`,
  'symbolic link': (name) => `symlink nowhere ${name}`,
  fifo: (name) => `mknod ${name} fifo 0600`,
};
const TYPE: Record<string, string> = {
  file: 'file',
  'empty directory': 'directory',
  'full directory': 'directory',
  'symbolic link': 'symlink',
  fifo: 'fifo',
};
const isDirectory = (kind: string) => TYPE[kind] === 'directory';

function over(from: string, to: string): string {
  if (isDirectory(from) && !isDirectory(to)) return 'ENOTDIR';
  if (!isDirectory(from) && isDirectory(to)) return 'EISDIR';
  return to === 'full directory' ? 'ENOTEMPTY' : 'ok';
}

const kinds = Object.keys(MAKE);

const combinations = kinds
  .flatMap((from) =>
    kinds.map((to) => {
      const result = over(from, to);
      return `
## a ${from} over a ${to}
mkdir d
${MAKE[from]!('a')}
${MAKE[to]!('d/b')}
rename a d/b -> ${result}
${result === 'ok' ? `stat a -> ENOENT\nstat d/b -> type=${TYPE[from]!}` : `stat a -> type=${TYPE[from]!}\nstat d/b -> type=${TYPE[to]!}`}
stat d -> nlink=${isDirectory(result === 'ok' ? from : to) ? 3 : 2}
stat . -> nlink=${isDirectory(from) && result !== 'ok' ? 4 : 3}

## a ${from} and a ${to} exchanged
mkdir d
${MAKE[from]!('a')}
${MAKE[to]!('d/b')}
rename a d/b exchange
stat a -> type=${TYPE[to]!}
stat d/b -> type=${TYPE[from]!}
stat d -> nlink=${isDirectory(from) ? 3 : 2}
stat . -> nlink=${isDirectory(to) ? 4 : 3}
`;
    }),
  )
  .join('');

const moves = kinds
  .map(
    (kind) => `
## a ${kind} to another directory and back
mkdir d
${MAKE[kind]!('a')}
rename a d/b
stat a -> ENOENT
stat d/b -> type=${TYPE[kind]!}
rename d/b a
stat a -> type=${TYPE[kind]!}
ls d -> []

## a ${kind} and noreplace
${MAKE[kind]!('a')}
create b
rename a b noreplace -> EEXIST
rename a c noreplace
stat c -> type=${TYPE[kind]!}

## a ${kind} leaves a whiteout
${MAKE[kind]!('a')}
rename a b whiteout
stat a -> type=char rdev=0:0 mode=0000
stat b -> type=${TYPE[kind]!}
`,
  )
  .join('');

export const RENAME = `${combinations}${moves}
## what is not there
mkdir d
rename nowhere a -> ENOENT
rename d nowhere/d -> ENOENT
create f
rename f f/x -> ENOTDIR
rename f/x d -> ENOTDIR

## exchange with what is not there
mkdir d
rename d nowhere exchange -> ENOENT

## a directory into itself
mkdir d
mkdir d/e
rename d d/x -> EINVAL
rename d d/e/x -> EINVAL
rename d d/e -> EINVAL

## a directory over its ancestor
mkdir d
mkdir d/e
rename d/e d -> ENOTEMPTY

## exchange of a directory with its ancestor
mkdir d
mkdir d/e
rename d d/e exchange -> EINVAL
rename d/e d exchange -> EINVAL

## to its own name
create f
mkdir d
rename f f
rename d d
stat f -> nlink=1

## two names of one file: nothing happens
create f
link f g
rename f g
stat f -> nlink=2
stat g -> nlink=2

## over a file that has another name
create a
create b
link b c
rename a b
stat c -> nlink=1

## . and .. [kernel]
mkdir d
rename d/. e -> EBUSY
rename d/.. e -> EBUSY
create f
rename f d/. -> EBUSY

## noreplace and exchange at once
create a
create b
rename a b noreplace-exchange -> EINVAL

## an open file that is replaced lives on [needs: openUnlinked]
create a
open h b O_CREAT|O_RDWR
write h 0 old -> 3
rename a b
read h 0 9 -> "old"
fstat h -> nlink=0

## a directory with content keeps it
mkdir d
create d/f
mkdir x
rename d x/y
ls x/y -> [f]
stat x -> nlink=3

## the times of both directories and the inode's change time
mkdir d
mkdir e
create d/f
mark d
rename d/f e/g
changed d -> mtime+ctime
create d/f
mark e
rename d/f e/h
changed e -> mtime+ctime
mark e/h
rename e/h d/h
changed d/h -> ctime

## over a directory: the times of the parent
mkdir d
mkdir e
mark .
rename d e
changed . -> mtime+ctime

## sticky directory [kernel]
mkdir d 0777
chmod d 01777
as 1000 1000
create d/f
as 1001 1001
rename d/f d/g -> EPERM
unlink d/f -> EPERM
create d/own
rename d/own d/f -> EPERM
as 1000 1000
rename d/f d/g
unlink d/g

## without write permission [kernel]
mkdir d 0755
create d/f
as 1000 1000
rename d/f d/g -> EACCES
`;
