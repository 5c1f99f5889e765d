/** Extended attributes. tmpfs of Linux 6.1 has none of `user.`. */
const of = (steps: string) =>
  steps.replace(/^## .*/gm, (heading) => `${heading} [tmpfs: keeps no attributes of users]`);

export const XATTRS = of(`
## set, get, list, remove
create f
setxattr f user.one 1
setxattr f user.two two
getxattr f user.one -> "1"
getxattr f user.two -> "two"
listxattr f -> [user.one,user.two]
removexattr f user.one
getxattr f user.one -> ENODATA
removexattr f user.one -> ENODATA
listxattr f -> [user.two]

## create and replace
create f
setxattr f user.a 1 replace -> ENODATA
setxattr f user.a 1 create
setxattr f user.a 2 create -> EEXIST
setxattr f user.a 3 replace
getxattr f user.a -> "3"

## set-id bits stay
create f
chmod f 06755
setxattr f user.a b
stat f -> mode=6755

## a value longer than there is room for
create f
setxattr f user.a 12345
getxattr f user.a 4 -> ERANGE
getxattr f user.a 5 -> "12345"

## a name of 255 bytes and no more
create f
setxattr f user.{n*250} v
getxattr f user.{n*250} -> "v"
setxattr f user.{n*251} v -> ERANGE

## a value of 64 KiB and no more
create f
setxattr f user.a {v*65536}
getxattr f user.a -> "{v*65536}"
setxattr f user.b {v*65537} -> E2BIG

## names and values in any bytes
create f
setxattr f user.%ff%fe %01%ff
getxattr f user.%ff%fe -> "%01%ff"
listxattr f -> [user.%ff%fe]

## of directories
mkdir d
setxattr d user.a b
getxattr d user.a -> "b"
create d/f
listxattr d/f -> []

## they go with the file, not with the name
create f
setxattr f user.a b
link f g
rename f h
getxattr g user.a -> "b"
getxattr h user.a -> "b"
unlink h
create h
listxattr h -> []

## user attributes are for files and directories only [kernel]
symlink x l
setxattr l user.a b -> EPERM
mknod p fifo 0600
setxattr p user.a b -> EPERM

## trusted attributes are root's alone [kernel]
create f
chmod f 0666
setxattr f trusted.a b
getxattr f trusted.a -> "b"
as 1000 1000
getxattr f trusted.a -> ENODATA
setxattr f trusted.a c -> EPERM
listxattr f -> []

## a name without a namespace [kernel]
create f
setxattr f plain v -> EOPNOTSUPP

## who may [kernel]
create f
setxattr f user.a b
chmod f 0600
as 1000 1000
getxattr f user.a -> EACCES
setxattr f user.a c -> EACCES

## trusted on links and special files
symlink x l
setxattr l trusted.a b
getxattr l trusted.a -> "b"
mknod p fifo 0600
setxattr p trusted.a b
getxattr p trusted.a -> "b"

## ACLs are not offered unless asked for
create f
getxattr f system.posix_acl_access -> EOPNOTSUPP
removexattr f system.posix_acl_access -> EOPNOTSUPP
`);
