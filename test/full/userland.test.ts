import { expect } from 'chai';
import { ensureUserland } from '../../guest-images/userland.ts';
import { Vm } from '../../harness/node/vm.ts';

const ROOT = '/mnt/debian';
const STRESSORS = [
  'access',
  'chdir',
  'chmod',
  'chown',
  'copy-file',
  'dentry',
  'dir',
  'dirdeep',
  'dirmany',
  'dup',
  'fallocate',
  'fcntl',
  'fiemap',
  'file-ioctl',
  'filename',
  'flock',
  'fpunch',
  'fstat',
  'getdent',
  'hdd',
  'io',
  'iomix',
  'link',
  'locka',
  'lockf',
  'lockofd',
  'mknod',
  'mmap',
  'msync',
  'open',
  'readahead',
  'rename',
  'revio',
  'seek',
  'sendfile',
  'splice',
  'symlink',
  'sync-file',
  'touch',
  'utime',
  'xattr',
];

for (const [locks, cache] of [
  ['guest', 'auto'],
  ['shared', 'never'],
] as const) {
  describe(`Debian's programs in a chroot on the share (locks ${locks}, cache ${cache})`, function () {
    this.timeout(600_000);
    let vm: Vm;
    const faults: unknown[] = [];

    before(async () => {
      const directory = await ensureUserland(['acl', 'fio', 'git', 'libc6-dev', 'sqlite3', 'stress-ng', 'tcc']);
      // The stock driver can't kill who waits for a lock here, and stress-ng does: it would wait for ever.
      const driver = locks === 'shared' ? 'fast' : undefined;
      vm = await Vm.boot({
        memory: 512,
        driver,
        shares: [{ tag: 'debian', source: directory, locks, cache, posixAcl: cache === 'auto' }],
      });
      const { session, transport } = vm.share().device;
      session.onError((error) => faults.push(error));
      transport.onError((error) => faults.push(error));
      await vm.mount('debian');
      await vm.exec(`cd ${ROOT} && mkdir -p proc dev tmp work && mount -t proc proc proc && mount -o bind /dev dev`);
    });
    after(() => vm?.stop());
    afterEach(() => expect(faults, 'faults of the server').to.deep.equal([]));

    /** Runs a script in the chroot; it has to succeed. Returns what it said. */
    async function run(script: string): Promise<string> {
      const inside = `export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/work LC_ALL=C; cd /work; set -e; ${script}`;
      const { stdout, stderr, code } = await vm.exec(['chroot', ROOT, '/bin/bash', '-c', inside], {
        timeoutMs: 300_000,
      });
      expect(code, stdout + stderr).to.equal(0);
      return stdout;
    }

    it('git commits, packs, clones and checks repositories', async () => {
      const said = await run(`git config --global user.email guest@example.org; git config --global user.name guest
        git init -q repo; cd repo; for i in $(seq 60); do echo $i > f$i; done; mkdir d; cp f* d; git add .; git commit -qm one
        for i in $(seq 30); do echo more >> f$i; done; git commit -qam two; git gc -q; git fsck --full --strict
        cd ..; git clone -q repo clone; cd clone; git fsck --full; git log --oneline | wc -l; git status --porcelain | wc -l`);
      expect(said).to.match(/2\n0\n$/);
    });

    // Linux 6.1 makes no shared memory maps of files that bypass its cache; the log needs them, and fio's mmap.
    const log =
      cache === 'never'
        ? ''
        : "sqlite3 db 'pragma journal_mode=wal; insert into t(b) values(1); select count(*) from t; pragma integrity_check'";
    it(`sqlite3 keeps its databases sound, with a journal${log && ' and with a write-ahead log'}`, async () => {
      const said = await run(`sqlite3 db 'create table t(a integer primary key, b text);'
        for i in 1 2 3 4 5; do sqlite3 db "begin; with recursive c(x) as (select 1 union all select x+1 from c limit 300) insert into t(b) select hex(randomblob(50)) from c; commit;"; done
        sqlite3 db 'delete from t where a % 3 = 0; vacuum; pragma integrity_check; select count(*) from t'
        ${log}`);
      expect(said).to.equal(`ok\n1000\n${log && 'wal\n1001\nok\n'}`);
    });

    it('tar packs a tree and unpacks it the same', async () => {
      expect(
        await run(
          'tar cf u.tar -C /usr include; mkdir x; tar xf u.tar -C x; diff -r /usr/include x/include; tar df u.tar -C x; find x -type f | wc -l; rm -r x u.tar',
        ),
      ).to.match(/^\d{3,}\n$/);
    });

    it('a C program is compiled, and runs', async () => {
      expect(
        await run(
          `printf '#include <stdio.h>\\nint main(void){printf("%%d\\\\n",6*7);return 0;}' > h.c; tcc -o h h.c; ./h`,
        ),
      ).to.equal('42\n');
    });

    if (cache === 'auto') {
      it('ACLs give and refuse, are inherited, and show in the mode', async () => {
        const as = (uid: number, command: string) =>
          `perl -e '$( = $) = "${uid} ${uid}"; $< = $> = ${uid}; exec @ARGV or die' ${command}`;
        expect(
          await run(`mkdir acl; echo secret > acl/f; chmod 600 acl/f; setfacl -m u:1000:r,g:2000:rw acl/f; stat -c %A acl/f
          ${as(1000, 'cat acl/f')}; ! ${as(1001, 'cat acl/f')} 2>/dev/null; ! ${as(1000, 'sh -c "echo x > acl/f"')} 2>/dev/null; ${as(2000, 'sh -c "echo more >> acl/f"')}
          setfacl -d -m u:1000:rwx,o::- acl; umask 077; touch acl/g; mkdir acl/d; getfacl -c acl/g; getfacl -cd acl/d | grep 1000; chmod 700 acl/g; getfacl -c acl/g | grep effective; rm -r acl`),
        ).to.equal(
          '-rw-rw----\nsecret\nuser::rw-\nuser:1000:rwx\t#effective:rw-\ngroup::r-x\t#effective:r--\nmask::rw-\nother::---\n\nuser:1000:rwx\nuser:1000:rwx\t#effective:---\ngroup::r-x\t#effective:---\n',
        );
      });
    }

    for (const engine of cache === 'never' ? ['psync'] : ['psync', 'mmap']) {
      it(`fio verifies what it wrote, by ${engine}`, async () => {
        await run(
          `fio --name=${engine} --directory=/work --size=8m --rw=randrw --bs=4k --verify=crc32c --verify_fatal=1 --ioengine=${engine} --numjobs=2 > fio.log || { cat fio.log; exit 1; }; rm ${engine}.*`,
        );
      });
    }

    // Linux 6.1 has no shared mappings of files without a cache.
    for (const stressor of STRESSORS.filter((name) => cache !== 'never' || name !== 'msync')) {
      it(`stress-ng ${stressor}`, () =>
        run(
          `timeout 60 stress-ng --${stressor} 1 --${stressor}-ops 1000 --timeout 2s --verify --temp-path /work 2>&1`,
        ));
    }
  });
}
