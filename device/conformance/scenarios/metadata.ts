/** Modes, owners, times and who may change them. */
const modes = ['0000', '0111', '0444', '0755', '0777', '1777', '2755', '4711', '6777', '7777']
  .map(
    (mode) => `
## chmod ${mode}
create f
mkdir d
chmod f ${mode}
chmod d ${mode}
stat f -> mode=${mode} type=file
stat d -> mode=${mode} type=directory
`,
  )
  .join('');

export const METADATA = `${modes}
## who may chmod [kernel]
create f
chown f 1000 1000
as 1001 1001
chmod f 0777 -> EPERM
as 1000 1000
chmod f 0700
stat f -> mode=0700

## a set-gid bit is lost to who is not in the group [kernel]
create f
chown f 1000 2000
as 1000 1000
chmod f 02755
stat f -> mode=0755
as 1000 1000 2000
chmod f 02755
stat f -> mode=2755

## chmod and the change time
create f
mark f
chmod f 0600
changed f -> ctime

## chown
create f
chown f 12 34
stat f -> uid=12 gid=34
chown f 56 -1
stat f -> uid=56 gid=34
chown f -1 78
stat f -> uid=56 gid=78
mkdir d
chown d 1 2
stat d -> uid=1 gid=2

## chown of a symbolic link
create f
chown f 1 2
symlink f l
chown l 3 4
stat l -> uid=3 gid=4
stat f -> uid=1 gid=2

## large ids
create f
chown f 4294967294 3000000000
stat f -> uid=-2 gid=-1294967296

## chown and the change time
create f
mark f
chown f 1 1
changed f -> ctime

## who may chown [kernel]
create f
chown f 1000 1000
as 1001 1001
chown f 1001 1001 -> EPERM
as 1000 1000
chown f 1001 -1 -> EPERM
chown f -1 2000 -> EPERM
as 1000 1000 2000
chown f -1 2000
stat f -> gid=2000

## chown takes set-id bits away, from files [kernel]
create f
chown f 1000 1000
chmod f 06755
as 1000 1000 2000
chown f -1 2000
stat f -> mode=0755

## chown by root takes them too, but not set-gid without group execute
create f
chmod f 06755
chown f 1 1
stat f -> mode=0755
chmod f 02644
chown f 2 2
stat f -> mode=2644
mkdir d
chmod d 06755
chown d 1 1
stat d -> mode=6755

## a write takes set-id bits away [kernel]
create f
chmod f 06777
as 1000 1000
open a f O_WRONLY
write a 0 x -> 1
stat f -> mode=0777

## truncate takes set-id bits away [kernel]
create f
chmod f 06777
as 1000 1000
truncate f 10
stat f -> mode=0777

## O_TRUNC takes set-id bits away [kernel]
create f
chmod f 06777
as 1000 1000
open a f O_WRONLY|O_TRUNC
stat f -> mode=0777

## a write by root leaves them [needs: owners]
create f
chmod f 06777
open a f O_WRONLY
write a 0 x -> 1
stat f -> mode=6777

## a set-gid directory hands its group down
mkdir d
chown d 0 1234
chmod d 02755
create d/f
stat d/f -> gid=1234 mode=0644
mkdir d/e
stat d/e -> gid=1234 mode=2755

## a set-gid directory hands its group down to links and special files
mkdir d
chown d 0 1234
chmod d 02755
mknod d/p fifo 0600
stat d/p -> gid=1234 mode=0600
symlink x d/l
stat d/l -> gid=1234

## without set-gid the group is the caller's [kernel]
mkdir d 0777
chmod d 0777
chown d 0 1234
as 1000 1001
create d/f
mkdir d/e
stat d/f -> uid=1000 gid=1001
stat d/e -> uid=1000 gid=1001 mode=0755

## a set-gid file in a directory of another group [kernel]
mkdir d
chown d 0 1234
chmod d 02777
as 1000 1001
create d/f 02775
stat d/f -> gid=1234 mode=0755

## link counts of directories
mkdir d
mkdir d/a
mkdir d/b
create d/f
stat d -> nlink=4
rmdir d/a
stat d -> nlink=3

## utimensat
create f
utimens f 1.500000000 2
stat f -> atime=1.500000000 mtime=2.000000000
utimens f omit 77
stat f -> atime=1.500000000 mtime=77.000000000
utimens f 99 omit
stat f -> atime=99.000000000 mtime=77.000000000

## utimensat to the nanosecond [needs: nanoseconds]
create f
utimens f 1.999999999 2.000000009
stat f -> atime=1.999999999 mtime=2.000000009
utimens f omit 4294967296.123456789
stat f -> atime=1.999999999 mtime=4294967296.123456789

## times before 1970 and after 2038 and 2106
create f
utimens f -1 -1000000000
stat f -> atime=-1.000000000 mtime=-1000000000.000000000
utimens f 2147483648 4294967296
stat f -> atime=2147483648.000000000 mtime=4294967296.000000000

## times after 2446 [needs: farTimes]
create f
utimens f 15032385535 253402300799
stat f -> atime=15032385535.000000000 mtime=253402300799.000000000

## utimensat of directories
mkdir d
utimens d 10 20
stat d -> atime=10.000000000 mtime=20.000000000

## utimensat of symbolic links
symlink x l
utimens l 30 40
stat l -> atime=30.000000000 mtime=40.000000000

## utimensat of special files
mknod p fifo 0600
utimens p 50 60
stat p -> atime=50.000000000 mtime=60.000000000

## utimensat moves the change time, unless both are omitted
create f
utimens f 10 20
mark f
utimens f omit 5
changed f -> mtime+ctime
mark f
utimens f omit omit
changed f -> none
mark f
utimens f now now
changed f -> atime+mtime+ctime

## reading moves the access time, but with O_NOATIME [needs: atime]
open h f O_CREAT|O_RDWR
write h 0 content -> 7
close h
dropcaches
mark f
open h f O_RDONLY|O_NOATIME
read h 0 7 -> "content"
close h
changed f -> none
dropcaches
open h f O_RDONLY
read h 0 7 -> "content"
close h
changed f -> atime

## who may set times [kernel]
create f
chmod f 0666
as 1000 1000
utimens f 1 1 -> EPERM
utimens f now now
utimens f now omit -> EPERM
as 0 0
chmod f 0600
as 1000 1000
utimens f now now -> EACCES

## the times of a new file and its directory
mark .
create f
changed . -> mtime+ctime
mark .
mkdir d
changed . -> mtime+ctime

## the times of the directory of a new symbolic link
mark .
symlink x l
changed . -> mtime+ctime

## the times of the directory of a new special file
mark .
mknod p fifo 0600
changed . -> mtime+ctime

## link: change time of the file, times of the directory
create f
mkdir d
mark f
link f d/g
changed f -> ctime
mark d
link f d/h
changed d -> mtime+ctime

## unlink: change time of the file that keeps a name
create f
link f g
mark g
unlink f
changed g -> ctime

## unlink and rmdir: times of the directory
create f
mkdir d
mark .
rmdir d
changed . -> mtime+ctime
mark .
unlink f
changed . -> mtime+ctime

## what fails changes no times
mkdir d
create d/f
mark d
rmdir d -> ENOTEMPTY
create d/f -> EEXIST
unlink d/g -> ENOENT
changed d -> none

## write and truncate
open a f O_CREAT|O_RDWR
mark f
write a 0 hello -> 5
changed f -> mtime+ctime
mark f
ftruncate a 2
changed f -> mtime+ctime
mark f
truncate f 9
changed f -> mtime+ctime

## ftruncate to the size it has [tmpfs: leaves the times alone]
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
mark f
ftruncate a 5
changed f -> mtime+ctime

## O_TRUNC
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
close a
mark f
open a f O_WRONLY|O_TRUNC
changed f -> mtime+ctime
stat f -> size=0

## O_TRUNC of an empty file
create f
mark f
open a f O_WRONLY|O_TRUNC
changed f -> mtime+ctime

## fallocate
open a f O_CREAT|O_RDWR
mark f
fallocate a 0 0 8192
changed f -> mtime+ctime

## setxattr and removexattr [tmpfs: keeps no attributes of users]
create f
mark f
setxattr f user.a b
changed f -> ctime
mark f
removexattr f user.a
changed f -> ctime
`;
