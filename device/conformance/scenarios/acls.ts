import { quote } from '../words.ts';

/** POSIX ACLs, as the kernel keeps them in attributes: [tag, permissions, id]… as `acl_ea` of Linux has them. */
const NOBODY = 0xffffffff;

export function acl(...entries: [tag: number, permissions: number, id?: number][]): string {
  const words = entries.flatMap(([tag, permissions, id = NOBODY]) => [
    [tag, 2],
    [permissions, 2],
    [id, 4],
  ]);
  return [[2, 4], ...words]
    .flatMap(([value, size]) => Array.from({ length: size! }, (_, n) => (value! >>> (8 * n)) & 0xff))
    .map((byte) => `%${byte.toString(16).padStart(2, '0')}`)
    .join('');
}

const [USER_OBJ, USER, GROUP_OBJ, MASK, OTHER] = [1, 2, 4, 0x10, 0x20] as const;
const withMask = (mask: number) => acl([USER_OBJ, 6], [USER, 4, 1000], [GROUP_OBJ, 4], [MASK, mask], [OTHER, 0]);
/** Those bytes as getxattr shows them: what is printable as it is. */
const quoted = (value: string) => quote(Uint8Array.from(value.matchAll(/%(..)/g), ([, hex]) => parseInt(hex!, 16)));
const of = (steps: string) =>
  steps.replace(/^## .*/gm, (heading) => `${heading} [needs: acls] [guest: a share has to be asked for them]`);

export const ACLS = of(`
## an access ACL shows in the mode
create f 0755
setxattr f system.posix_acl_access ${withMask(6)}
stat f -> mode=0660

## chmod changes the mask
create f 0644
setxattr f system.posix_acl_access ${withMask(6)}
chmod f 0640
getxattr f system.posix_acl_access -> ${quoted(withMask(4))}

## an ACL that says no more than a mode becomes that
create f 0600
setxattr f system.posix_acl_access ${acl([USER_OBJ, 7], [GROUP_OBJ, 5], [OTHER, 1])}
stat f -> mode=0751
listxattr f -> []

## a default ACL is handed down in place of the umask
umask 077
mkdir d 0755
setxattr d system.posix_acl_default ${withMask(6)}
create d/f 0644
stat d/f -> mode=0640
mkdir d/e 0777
listxattr d/e -> [system.posix_acl_access,system.posix_acl_default]

## a default ACL is for directories only
create f
setxattr f system.posix_acl_default ${withMask(6)} -> EACCES
`);
