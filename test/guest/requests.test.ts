import { expect } from 'chai';
import { defaultDriver, defaultKernel } from '../../harness/node/image.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { useGuest } from '../support/guest.ts';

const FILES = 20;
const S_IFDIR = 0o040000,
  S_IFMT = 0o170000;

/** What docs/filesystem.md says that operations on a file in a directory cost: requests about the file itself, whatever else is asked of directories. */
const EXPECTED: Record<string, Record<string, string>> = {
  never: {
    create: 'LOOKUP CREATE GETATTR WRITE RELEASE',
    stat: 'LOOKUP GETATTR',
    read: 'LOOKUP GETATTR OPEN READ RELEASE',
    overwrite: 'LOOKUP GETATTR OPEN GETXATTR SETATTR WRITE RELEASE',
    unlink: 'LOOKUP UNLINK',
  },
  auto: {
    create: 'LOOKUP CREATE GETXATTR WRITE RELEASE',
    stat: 'LOOKUP',
    read: 'LOOKUP OPEN READ RELEASE',
    overwrite: 'LOOKUP OPEN GETXATTR SETATTR GETXATTR WRITE RELEASE',
    unlink: 'LOOKUP UNLINK',
  },
  stateless: {
    create: 'LOOKUP CREATE GETXATTR WRITE',
    stat: 'LOOKUP',
    read: 'LOOKUP READ',
    overwrite: 'LOOKUP GETXATTR SETATTR GETXATTR WRITE',
    unlink: 'LOOKUP UNLINK',
  },
};
EXPECTED['no-xattr'] = {
  ...EXPECTED['auto'],
  create: 'LOOKUP CREATE WRITE RELEASE',
  overwrite: 'LOOKUP OPEN SETATTR WRITE RELEASE',
};
// The fast driver creates without a lookup, and knows that a new file has no attributes.
if (defaultDriver(defaultKernel()) === 'fast')
  for (const expected of Object.values(EXPECTED))
    expected['create'] = expected['create']!.replace(/^LOOKUP /, '').replace('GETXATTR ', '');
const SHARES: ShareOptions[] = [
  { tag: 'never', cache: 'never' },
  { tag: 'auto', cache: 'auto' },
  { tag: 'stateless', stateless: true, cache: 'auto' },
  { tag: 'no-xattr', xattr: false, cache: 'auto' },
];
const STEPS: Record<string, (file: string) => string[]> = {
  create: (file) => [`open a ${file} O_CREAT|O_WRONLY|O_EXCL`, 'write a 0 hello', 'close a'],
  stat: (file) => [`stat ${file}`],
  read: (file) => [`open a ${file} O_RDONLY`, 'read a 0 9', 'close a'],
  overwrite: (file) => [`open a ${file} O_WRONLY|O_TRUNC`, 'write a 0 anew', 'close a'],
  unlink: (file) => [`unlink ${file}`],
};

describe('requests that operations take', () => {
  const guest = useGuest({ shares: SHARES });

  for (const { tag } of SHARES) {
    it(tag, async () => {
      const { device, files, mountPoint, volume } = guest.vm.share(tag);
      volume.mkdirSync('/d');
      // What a session learns by being refused once: FLUSH, OPEN of a stateless share, GETXATTR of one without attributes.
      await guest.vm.exec(`echo x > ${mountPoint}/first; cat ${mountPoint}/first`);
      let scenario = 0;
      for (const [name, steps] of Object.entries(STEPS)) {
        await guest.vm.exec('echo 3 > /proc/sys/vm/drop_caches');
        const seen: string[] = [];
        const end = device.session.onTrace(({ opcode, nodeid, args: { names } }) => {
          const isDirectory = ((files.inode(nodeid)?.mode ?? 0) & S_IFMT) === S_IFDIR;
          const isOfFile =
            names && opcode !== 'GETXATTR' ? /^f\d+$/.test(String((names as string[])[0])) : !isDirectory;
          if (isOfFile && opcode !== 'FORGET' && opcode !== 'BATCH_FORGET') seen.push(opcode);
        });
        const lines = [
          `scenario s${scenario++}`,
          ...Array.from({ length: FILES }, (_, n) => steps(`../d/f${n}`)).flat(),
        ];
        const { stdout } = await guest.vm.exec(['posix', mountPoint], { stdin: `${lines.join('\n')}\n` });
        end();
        expect(stdout).not.to.match(/^E/m);
        expect(seen.join(' '), name).to.equal(Array(FILES).fill(EXPECTED[tag]![name]).join(' '));
      }
    });
  }
});
