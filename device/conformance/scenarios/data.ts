/** Content: reading, writing, sizes, holes and ranges. */
const K = 4096;
const G4 = 2 ** 32;

export const DATA = `
## read and write
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
read a 0 100 -> "hello"
read a 1 3 -> "ell"
read a 5 3 -> ""
read a 1000 3 -> ""
write a 10 x -> 1
read a 0 100 -> "hello%00%00%00%00%00x"
stat f -> size=11

## overwriting the middle
open a f O_CREAT|O_RDWR
write a 0 0123456789 -> 10
write a 3 abc -> 3
read a 0 99 -> "012abc6789"

## modes of opening [kernel]
open a f O_CREAT|O_WRONLY
read a 0 1 -> EBADF
open b f O_RDONLY
write b 0 x -> EBADF
ftruncate b 0 -> EINVAL
mkdir d
open c d O_RDONLY
read c 0 1 -> EISDIR

## O_APPEND
open a f O_CREAT|O_RDWR
write a 0 base -> 4
open b f O_WRONLY|O_APPEND
write b - one -> 3
write a 7 two -> 3
write b - three -> 5
read a 0 99 -> "baseonetwothree"

## O_APPEND of two
open a f O_CREAT|O_WRONLY|O_APPEND
open b f O_WRONLY|O_APPEND
write a - 1 -> 1
write b - 2 -> 1
write a - 3 -> 1
open c f O_RDONLY
read c 0 9 -> "123"

## truncate up and down
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
truncate f 2
stat f -> size=2
truncate f 8
read a 0 99 -> "he%00%00%00%00%00%00"
truncate f 0
stat f -> size=0 blocks=0
truncate f -1 -> EINVAL
truncate nowhere 0 -> ENOENT

## truncate of a fifo [kernel]
mknod p fifo 0600
truncate p 0 -> EINVAL

## truncation frees
open a f O_CREAT|O_RDWR
write a 0 {x*${4 * K}} -> ${4 * K}
stat f -> blocks=32
ftruncate a ${K}
stat f -> blocks=8
ftruncate a ${K + 1}
stat f -> blocks=8 size=${K + 1}

## beyond 2 GiB and 4 GiB
open a f O_CREAT|O_RDWR
write a ${2 ** 31 - 2} abcd -> 4
read a ${2 ** 31 - 3} 9 -> "%00abcd"
write a ${G4 - 2} wxyz -> 4
read a ${G4 - 3} 9 -> "%00wxyz"
stat f -> size=${G4 + 2}
write a ${6 * 2 ** 30} six -> 3
read a ${6 * 2 ** 30} 9 -> "six"
ftruncate a ${5 * 2 ** 30}
stat f -> size=${5 * 2 ** 30}
read a ${G4 - 2} 4 -> "wxyz"

## a sparse file of 1 TiB
open a f O_CREAT|O_RDWR
ftruncate a ${2 ** 40}
stat f -> size=${2 ** 40} blocks=0
write a ${2 ** 40} end -> 3
read a ${2 ** 40 - 2} 9 -> "%00%00end"
stat f -> size=${2 ** 40 + 3} blocks=8

## the largest file there can be
open a f O_CREAT|O_RDWR
truncate f 9223372036854775807 -> EFBIG
write a 9223372036854770000 x -> EFBIG
stat f -> size=0

## unlinked and open [needs: openUnlinked]
open a f O_CREAT|O_RDWR
write a 0 hello -> 5
unlink f
fstat a -> nlink=0 size=5
read a 0 9 -> "hello"
write a 5 more -> 4
read a 0 99 -> "hellomore"
ftruncate a 3
fstat a -> size=3

## the mode of a file that is unlinked and open [needs: openUnlinked]
open a f O_CREAT|O_RDWR
unlink f
fchmod a 0600
fstat a -> mode=0600

## an unlinked file and a new one of its name [needs: openUnlinked]
open a f O_CREAT|O_RDWR
write a 0 old -> 3
unlink f
open b f O_CREAT|O_RDWR
write b 0 new -> 3
read a 0 9 -> "old"
read b 0 9 -> "new"

## a file without a name
mkdir d
open a d O_TMPFILE|O_RDWR 0640
write a 0 hello -> 5
fstat a -> nlink=0 mode=0640 type=file
ls d -> []
linkfd a d/named
fstat a -> nlink=1
ls d -> [named]
open b d/named O_RDONLY
read b 0 9 -> "hello"

## a file without a name that may not get one [kernel]
mkdir d
open a d O_TMPFILE|O_RDWR|O_EXCL
linkfd a d/named -> ENOENT

## an unlinked file gets no new name [needs: openUnlinked]
open a f O_CREAT|O_RDWR
unlink f
linkfd a g -> ENOENT|ESTALE

## O_TMPFILE in what is no directory [kernel]
create f
open a f O_TMPFILE|O_RDWR -> ENOTDIR
open a nowhere O_TMPFILE|O_RDWR -> ENOENT
mkdir d
open a d O_TMPFILE -> EINVAL

## holes
open a f O_CREAT|O_RDWR
ftruncate a ${8 * K}
seek a data 0 -> ENXIO
seek a hole 0 -> 0
write a ${4 * K} x -> 1
seek a data 0 -> ${4 * K}
seek a hole 0 -> 0
seek a hole ${4 * K} -> ${5 * K}
seek a data ${5 * K} -> ENXIO
seek a hole ${8 * K} -> ENXIO
seek a data ${8 * K} -> ENXIO
stat f -> blocks=8

## a file without holes ends in one
open a f O_CREAT|O_RDWR
write a 0 {x*5000} -> 5000
seek a hole 0 -> 5000
seek a data 100 -> 100
seek a hole 4999 -> 5000
seek a hole 5000 -> ENXIO

## fallocate allocates
open a f O_CREAT|O_RDWR
fallocate a 0 0 10000
stat f -> size=10000 blocks=24
fallocate a 0 20000 1
stat f -> size=20001
read a 19999 9 -> "%00%00"

## fallocate keep
open a f O_CREAT|O_RDWR
write a 0 abc -> 3
fallocate a keep 0 ${4 * K}
stat f -> size=3 blocks=32
read a 0 9 -> "abc"

## fallocate with nothing to do
open a f O_CREAT|O_RDWR
fallocate a 0 0 0 -> EINVAL
fallocate a 0 -1 10 -> EINVAL
fallocate a 0 0 -1 -> EINVAL

## fallocate of what is no file [kernel]
mkdir d
open a d O_RDONLY
fallocate a 0 0 10 -> EBADF
open b f O_CREAT|O_RDONLY
fallocate b 0 0 10 -> EBADF

## punch
open a f O_CREAT|O_RDWR
write a 0 {x*${3 * K}} -> ${3 * K}
fallocate a punch ${K} ${K}
stat f -> size=${3 * K} blocks=16
seek a hole 0 -> ${K}
seek a data ${K} -> ${2 * K}
read a ${K - 1} 3 -> "x%00%00"
fallocate a punch 10 5
read a 9 7 -> "x%00%00%00%00%00x"
fallocate a punch ${2 * K} ${10 * K}
stat f -> size=${3 * K}

## zero [tmpfs: can't]
open a f O_CREAT|O_RDWR
write a 0 {x*100} -> 100
fallocate a zero 10 5
read a 9 7 -> "x%00%00%00%00%00x"
fallocate a zero 95 10
stat f -> size=105
fallocate a zero-keep 100 100
stat f -> size=105

## collapse [guest: Linux lets FUSE do keep, punch and zero only]
open a f O_CREAT|O_RDWR
write a 0 {a*${K}} -> ${K}
write a ${K} {b*${K}} -> ${K}
write a ${2 * K} ccc -> 3
fallocate a collapse ${K} ${K}
stat f -> size=${K + 3}
read a ${K - 1} 9 -> "accc"
fallocate a collapse 1 ${K} -> EINVAL
fallocate a collapse 0 100 -> EINVAL
fallocate a collapse 0 ${4 * K} -> EINVAL

## insert [guest: Linux lets FUSE do keep, punch and zero only]
open a f O_CREAT|O_RDWR
write a 0 {a*${K}} -> ${K}
write a ${K} bbb -> 3
fallocate a insert ${K} ${2 * K}
stat f -> size=${3 * K + 3}
read a ${K - 1} 3 -> "a%00%00"
read a ${3 * K - 1} 9 -> "%00bbb"
fallocate a insert 1 ${K} -> EINVAL
fallocate a insert 0 100 -> EINVAL
fallocate a insert ${8 * K} ${K} -> EINVAL

## copy_file_range
open a f O_CREAT|O_RDWR
write a 0 0123456789 -> 10
open b g O_CREAT|O_RDWR
copy a 2 b 0 5 -> 5
read b 0 99 -> "23456"
copy a 8 b 5 100 -> 2
read b 0 99 -> "2345689"
copy a 10 b 0 5 -> 0
copy a 100 b 0 5 -> 0

## copy_file_range within a file
open a f O_CREAT|O_RDWR
write a 0 abcdef -> 6
copy a 0 a 6 3 -> 3
read a 0 99 -> "abcdefabc"
copy a 0 a 2 5 -> EINVAL

## copy_file_range of modes that don't fit [kernel]
open a f O_CREAT|O_WRONLY
open b g O_CREAT|O_RDWR
copy a 0 b 0 5 -> EBADF
open c g O_RDONLY
copy b 0 c 0 5 -> EBADF
open d g O_WRONLY|O_APPEND
copy b 0 d 0 5 -> EBADF

## fsync
open a f O_CREAT|O_RDWR
fsync a

## past the cache and through it [tmpfs: has no O_DIRECT]
open a f O_CREAT|O_RDWR
write a 0 {x*${2 * K}} -> ${2 * K}
open b f O_RDWR|O_DIRECT
read b ${K} 4 -> "xxxx"
write b ${K} {y*${K}} -> ${K}
read a ${K - 2} 4 -> "xxyy"
write a ${K - 1} zz -> 2
read b ${K - 2} 4 -> "xzzy"
write b ${2 * K} more -> 4
read a ${2 * K - 1} 9 -> "ymore"
stat f -> size=${2 * K + 4}

## a shared mapping writes the file [kernel]
open a f O_CREAT|O_RDWR
write a 0 {x*5000} -> 5000
map a shared ${K - 2} hello
read a ${K - 3} 7 -> "xhellox"
write a ${K} {y*10} -> 10
read a ${K - 3} 7 -> "xheyyyy"
stat f -> size=5000
ftruncate a ${K}
map a shared ${K - 2} zz
read a ${K - 3} 9 -> "xzz"

## a private mapping doesn't [kernel]
open a f O_CREAT|O_RDWR
write a 0 xxxxxxxx -> 8
map a private 2 hello
read a 0 9 -> "xxxxxxxx"

## what is mapped is kept when the file has no name any more [kernel]
open a f O_CREAT|O_RDWR
write a 0 xxxxxxxx -> 8
unlink f
map a shared 2 hello
dropcaches
read a 0 9 -> "xxhellox"
`;
