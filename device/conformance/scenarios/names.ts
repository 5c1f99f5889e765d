/** Making, finding and removing names. */
export const NAMES = `
## mkdir
mkdir d 0750
stat d -> type=directory mode=0750 nlink=2 uid=0 gid=0
stat . -> nlink=3
mkdir d -> EEXIST
create f
mkdir f -> EEXIST
mkdir f/x -> ENOTDIR
mkdir nowhere/x -> ENOENT

## mkdir over a symbolic link, dangling too
symlink nowhere l
mkdir l -> EEXIST

## mkdir obeys the umask
umask 027
mkdir d 0777
stat d -> mode=0750

## mkdir keeps the sticky bit
mkdir d 01777
stat d -> mode=1755

## names of 255 bytes and no more
mkdir {x*255}
create {x*255}/{y*255}
ls . -> [{x*255}]
create {z*256} -> ENAMETOOLONG
mkdir {z*256} -> ENAMETOOLONG
rename {x*255} {z*256} -> ENAMETOOLONG
unlink {z*256} -> ENAMETOOLONG
rmdir {z*256} -> ENAMETOOLONG
stat {z*256} -> ENAMETOOLONG

## a symbolic link with a name of 256 bytes
symlink a {z*256} -> ENAMETOOLONG

## a hard link with a name of 256 bytes
create f
link f {z*256} -> ENAMETOOLONG

## names of 255 bytes in UTF-8 of two bytes a letter
create {%c3%a4*127}
create {%c3%a4*128} -> ENAMETOOLONG
unlink {%c3%a4*127}

## paths of 4096 bytes and more [kernel]
mkdir d
stat {d/../*816}d -> type=directory
stat {d/../*820}d -> ENAMETOOLONG

## names of any bytes [needs: byteNames]
create %ff%fe
create %80
create %c3
create %ed%a0%80
create a%0ab
create a%20b
create %01
ls . -> [%01,a%0ab,a%20b,%80,%c3,%ed%a0%80,%ff%fe]
unlink %ff%fe
stat %80 -> type=file
stat %ff -> ENOENT
rename %80 %81
stat %80 -> ENOENT
unlink %81

## names that differ in case, and that look alike [needs: byteNames]
create a
create A
create %c3%a9
create e%cc%81
ls . -> [A,a,e%cc%81,%c3%a9]

## a name with dots that is neither . nor ..
create ...
create ..a
create .a
ls . -> [...,..a,.a]

## create
create f 0604
stat f -> type=file mode=0604 nlink=1 size=0 blocks=0
create f -> EEXIST
create d/f -> ENOENT
create f/g -> ENOTDIR

## create keeps set-id bits
create f 06711
stat f -> mode=6711

## create obeys the umask
umask 077
create f 0666
stat f -> mode=0600

## O_EXCL finds links, dangling too
symlink nowhere l
open a l O_CREAT|O_EXCL|O_WRONLY -> EEXIST

## O_CREAT goes through a dangling link [kernel]
symlink f l
open a l O_CREAT|O_WRONLY
stat f -> type=file

## O_CREAT opens what is there
create f 0600
open a f O_CREAT|O_RDWR 0777
write a 0 x -> 1
stat f -> mode=0600 size=1

## unlink
create f
unlink f
unlink f -> ENOENT
stat f -> ENOENT
mkdir d
unlink d -> EISDIR
create g
unlink g/x -> ENOTDIR

## unlink takes the link, not what it points to
create f
symlink f l
unlink l
stat f -> type=file

## rmdir
mkdir d
create d/f
rmdir d -> ENOTEMPTY
unlink d/f
mkdir d/e
rmdir d -> ENOTEMPTY
stat d -> nlink=3
rmdir d/e
stat d -> nlink=2
rmdir d
rmdir d -> ENOENT
create f
rmdir f -> ENOTDIR

## rmdir of a symbolic link
symlink nowhere l
rmdir l -> ENOTDIR

## rmdir of . and .. [kernel]
mkdir d
rmdir d/. -> EINVAL
rmdir d/.. -> ENOTEMPTY

## a link to a directory is no directory to rmdir [kernel]
mkdir d
symlink d l
rmdir l -> ENOTDIR
rmdir l/ -> ENOTDIR

## nothing can be made in a directory that was removed [kernel]
mkdir d
opendir a d
rmdir d
create d/f -> ENOENT

## hard links
create f 0640
link f g
stat f -> nlink=2
stat g -> nlink=2 mode=0640
link f g -> EEXIST
link nowhere h -> ENOENT
mkdir d
link f d/h
stat f -> nlink=3
unlink f
stat g -> nlink=2
unlink d/h
unlink g
stat g -> ENOENT

## a hard link to a directory
mkdir d
link d e -> EPERM

## a hard link over a directory
create f
mkdir d
link f d -> EEXIST

## a hard link to a symbolic link
symlink target l
link l m
stat m -> type=symlink nlink=2
readlink m -> "target"

## hard links to special files
mknod p fifo 0600
link p q
stat q -> type=fifo nlink=2
mknod c char 0600 1 3
link c e
stat e -> type=char rdev=1:3

## hard links share content
create f
link f g
open a f O_WRONLY
write a 0 hello -> 5
open b g O_RDONLY
read b 0 9 -> "hello"
stat g -> size=5

## symbolic links
symlink some/where l
stat l -> type=symlink mode=0777 size=10 nlink=1
readlink l -> "some/where"
symlink x l -> EEXIST
create f
readlink f -> EINVAL
mkdir d
readlink d -> EINVAL
readlink nowhere -> ENOENT

## targets in any bytes
symlink %ff%fe%0a%20 l
readlink l -> "%ff%fe%0a%20"
stat l -> size=4

## symbolic links in a loop [kernel]
symlink b a
symlink a b
follow a -> ELOOP
open h a O_RDONLY -> ELOOP
stat a/x -> ELOOP

## 40 links in a row are followed, more are not [kernel]
create f
symlink f l0
${Array.from({ length: 41 }, (_, n) => `symlink l${n} l${n + 1}`).join('\n')}
follow l39 -> type=file
follow l40 -> ELOOP

## O_NOFOLLOW [kernel]
create f
symlink f l
open a l O_RDONLY|O_NOFOLLOW -> ELOOP
open a f O_RDONLY|O_NOFOLLOW

## O_DIRECTORY [kernel]
create f
mkdir d
open a f O_RDONLY|O_DIRECTORY -> ENOTDIR
open a d O_RDONLY|O_DIRECTORY

## writing to a directory
mkdir d
open a d O_WRONLY -> EISDIR
open a d O_RDWR -> EISDIR
truncate d 0 -> EISDIR

## special files
mknod p fifo 0622
stat p -> type=fifo mode=0600
mknod s socket 0755
stat s -> type=socket mode=0755
mknod c char 0600 5 1
stat c -> type=char rdev=5:1
mknod b block 0600 259 1048575
stat b -> type=block rdev=259:1048575
mknod f file 0644
stat f -> type=file
mknod p fifo 0600 -> EEXIST
ls . -> [b,c,f,p,s]

## a socket in the file system can't be opened [kernel]
mknod s socket 0755
open a s O_RDWR -> ENXIO

## O_PATH opens anything [kernel]
mknod s socket 0755
open a s O_PATH
fstat a -> type=socket
read a 0 1 -> EBADF
${[1, 2, 59, 60, 61, 255, 1000, 4094, 4095]
  .map(
    (length) => `
## a symbolic link of ${length} bytes
symlink {a*${length}} l
readlink l -> "{a*${length}}"
stat l -> size=${length}
`,
  )
  .join('')}
## a symbolic link of 4096 bytes, and one of none
symlink {a*4096} l -> ENAMETOOLONG

## a directory's size of entries, and order after removal
mkdir d
create d/a
create d/b
create d/c
unlink d/b
ls d -> [a,c]
create d/b
ls d -> [a,b,c]

## readdir sees each entry that stays once, whatever changes [needs: directoryCookies]
mkdir d
${Array.from({ length: 30 }, (_, n) => `create d/file${10 + n}`).join('\n')}
opendir h d
unlink d/file39
readdir h -> [${Array.from({ length: 29 }, (_, n) => `file${10 + n}`).join(',')}]
create d/new
rewinddir h
readdir h -> [${Array.from({ length: 29 }, (_, n) => `file${10 + n}`).join(',')},new]

## a list ends, though each of its entries is renamed as it comes [needs: directoryCookies]
mkdir d
${Array.from({ length: 500 }, (_, n) => `create d/a-name-that-is-long-enough-for-more-than-one-request-${n}`).join('\n')}
renamewhilelisted d -> 500

## telldir and seekdir [kernel] [tmpfs: counts the entries before]
mkdir d
${Array.from({ length: 200 }, (_, n) => `create d/a-name-that-is-long-enough-for-more-than-one-request-${n}`).join('\n')}
opendir h d
reread h 50 -> same 50
reread h 100 -> same 100
unlink d/a-name-that-is-long-enough-for-more-than-one-request-0
create d/new
reread h 30 -> same 30
rewinddir h
reread h 10 -> same 10

## a file by its handle
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
close a
know h f
openknown b h O_RDWR
read b 0 9 -> "hello"
close b
dropcaches
openknown c h O_RDONLY
read c 0 9 -> "hello"
close c
rename f g
dropcaches
openknown d h O_RDONLY
fstat d -> type=file nlink=1 size=5

## a directory by its handle, deep down
mkdir d
mkdir d/e
create d/e/f 0604
know h d/e
dropcaches
openknown a h O_RDONLY
fstat a -> type=directory nlink=2
know i d/e/f
rename d x
dropcaches
openknown b i O_RDONLY
fstat b -> type=file mode=0604

## the handle of what is gone
create f
know h f
unlink f
create f
dropcaches
openknown a h O_RDONLY -> ESTALE

## the handle of an open file that has no name any more [needs: openUnlinked]
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
know h f
unlink f
dropcaches
openknown b h O_RDONLY
read b 0 9 -> "hello"
`;
