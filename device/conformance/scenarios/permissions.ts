/** [who, uid, gid, groups, the class whose bits count] */
const callers = [
  ['owner', 1000, 2000, '', 6],
  ['group', 1001, 1000, '', 3],
  ['supplementary group', 1001, 2000, '5,1000', 3],
  ['others', 1001, 2000, '', 0],
] as const;
/** What each class of callers may do, by the bits of the mode. */
export const PERMISSIONS = callers
  .flatMap(([who, uid, gid, groups, shift]) =>
    [0, 1, 2, 4, 6].map((bits) => {
      // The other classes may do all that this one may not.
      const mode = ((0o777 & ~(7 << shift)) | (bits << shift)).toString(8).padStart(4, '0');
      const may = (bit: number) => (bits & bit ? 'ok' : 'EACCES');
      return `
## ${who} with ${mode} [kernel]
open a f O_CREAT|O_WRONLY 0644
write a 0 x -> 1
chown f 1000 1000
chmod f ${mode}
mkdir d
create d/in
chown d 1000 1000
chmod d ${mode}
as ${uid} ${gid} ${groups}
open a f O_RDONLY -> ${may(4)}
open a f O_WRONLY -> ${may(2)}
truncate f 1 -> ${may(2)}
opendir a d -> ${may(4)}
stat d/in -> ${bits & 1 ? 'type=file' : 'EACCES'}
create d/new -> ${(bits & 3) === 3 ? 'ok' : 'EACCES'}
`;
    }),
  )
  .join('');
