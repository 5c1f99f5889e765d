import { acl } from './acls.ts';

/** Of each feature what works where it is there, and does not where it isn't. */
export const SAMPLES = `
## hardLinks
create f
link f g
stat f -> nlink=2

## symlinks
symlink target l
readlink l -> "target"

## specialFiles
mknod p fifo 0600
stat p -> type=fifo

## modes
create f 0640
chmod f 0604
stat f -> mode=0604

## owners
create f
chown f 12 34
stat f -> uid=12 gid=34

## times
create f
utimens f 10 20
stat f -> atime=10.000000000 mtime=20.000000000

## nanoseconds
create f
utimens f 10.000000001 20.000000002
stat f -> atime=10.000000001 mtime=20.000000002

## farTimes
create f
utimens f 10 253402300799
stat f -> mtime=253402300799.000000000

## atime
open a f O_CREAT|O_RDWR
write a 0 x -> 1
mark f
read a 0 1 -> "x"
changed f -> atime

## directoryLinks
mkdir d
mkdir d/e
stat d -> nlink=3

## byteNames
create a
create A
create %ff
ls . -> [A,a,%ff]

## openUnlinked
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
unlink f
read a 0 9 -> "hello"
fstat a -> nlink=0

## fileHandles
create f
know h f
dropcaches
openknown a h O_RDONLY
fstat a -> type=file

## holes
open a f O_CREAT|O_RDWR
write a 8192 x -> 1
seek a data 0 -> 8192

## fallocate
open a f O_CREAT|O_RDWR
fallocate a 0 0 100
stat f -> size=100

## fallocateKeepSize
open a f O_CREAT|O_RDWR
fallocate a keep 0 100
stat f -> size=0

## punchHole
open a f O_CREAT|O_RDWR
write a 0 abc -> 3
fallocate a punch 1 1
read a 0 9 -> "a%00c"

## zeroRange
open a f O_CREAT|O_RDWR
write a 0 abc -> 3
fallocate a zero 1 1
read a 0 9 -> "a%00c"

## collapseRange
open a f O_CREAT|O_RDWR
write a 4096 x -> 1
fallocate a collapse 0 4096
read a 0 9 -> "x"

## insertRange
open a f O_CREAT|O_RDWR
write a 0 xy -> 2
fallocate a insert 0 4096
read a 4096 9 -> "xy"

## copyFileRange
open a f O_CREAT|O_RDWR
write a 0 abc -> 3
open b g O_CREAT|O_RDWR
copy a 0 b 0 3 -> 3
read b 0 9 -> "abc"

## tmpfile
mkdir d
open a d O_TMPFILE|O_RDWR 0600
fstat a -> nlink=0

## renameNoreplace
create f
create g
rename f g noreplace -> EEXIST
rename f h noreplace
stat h -> type=file

## renameExchange
create f
mkdir g
rename f g exchange
stat f -> type=directory

## renameWhiteout
create f
rename f g whiteout
stat f -> type=char

## xattrs
create f
setxattr f user.a b
getxattr f user.a -> "b"

## trustedXattrs
create f
setxattr f trusted.a b
getxattr f trusted.a -> "b"

## acls [needs: acls]
create f 0644
setxattr f system.posix_acl_access ${acl([1, 6], [2, 4, 1000], [4, 4], [0x10, 6], [0x20, 0])}
stat f -> mode=0660
`;
