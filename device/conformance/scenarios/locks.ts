/** Locks of open files: who else has one is another open file of the same process. */
const of = (steps: string) =>
  steps.replace(/^## .*/gm, (heading) => `${heading} [kernel]\nopen a f O_CREAT|O_RDWR\nopen b f O_RDWR`);

export const LOCKS = of(`
## readers share, a writer has it alone
lock a ofd read 0 100
lock b ofd read 50 100
lock b ofd write 0 10 -> EAGAIN
lock b ofd write 100 50
lock a ofd write 0 50
lock b ofd read 10 1 -> EAGAIN
lock a ofd none 0 100
lock b ofd write 0 200

## a range that is given up in the middle leaves both ends
lock a ofd write 0 100
lock a ofd none 40 20
lock b ofd write 40 20
lock b ofd write 39 1 -> EAGAIN
lock b ofd write 60 1 -> EAGAIN
lock b ofd write 100 1

## ranges beside each other are one
lock a ofd write 0 10
lock a ofd write 10 10
lock a ofd none 5 10
lock b ofd write 5 10
lock b ofd write 4 1 -> EAGAIN
lock b ofd write 15 1 -> EAGAIN

## to the end of the file, wherever that is
lock a ofd write 1000 0
lock b ofd write 0 1000
lock b ofd read 9000000000000000000 1 -> EAGAIN
lock a ofd none 2000 0
lock b ofd read 9000000000000000000 1
lock b ofd read 1999 1 -> EAGAIN

## they end with the open file
lock a ofd write 0 0
lock b ofd write 0 0 -> EAGAIN
close a
lock b ofd write 0 0

## they don't end with another open file of the process
open c f O_RDWR
lock a ofd write 0 0
close c
lock b ofd write 0 0 -> EAGAIN

## a writer has to have it open for writing, a reader for reading
open c f O_RDONLY
lock c ofd write 0 0 -> EBADF
lock c ofd read 0 0
open d f O_WRONLY
lock d ofd read 0 0 -> EBADF

## an empty range, and one before the start
lock a ofd write -1 5 -> EINVAL
lock a ofd write 10 -20 -> EINVAL
lock a ofd write 10 -5
lock b ofd write 9 1 -> EAGAIN
lock b ofd write 10 1

## flock: readers share, a writer has it alone
lock a flock read
lock b flock read
lock b flock write -> EAGAIN
lock b flock none
lock a flock write
lock b flock read -> EAGAIN
lock a flock none
lock b flock write

## flock: who asks for more in vain has nothing any more
lock a flock read
lock b flock read
lock a flock write -> EAGAIN
lock b flock write

## flock ends with the open file
lock a flock write
close a
lock b flock write

## flock and byte ranges don't see each other
lock a flock write
lock b ofd write 0 0

## a file that is unlinked keeps its locks
lock a ofd write 0 0
unlink f
lock b ofd read 0 0 -> EAGAIN
close a
lock b ofd read 0 0
`);
