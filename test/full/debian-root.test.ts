import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { expect } from 'chai';
import type { OpenImage } from '../../device/image/open.ts';
import { imageFileSystem, loadCodec, MemoryFileSystem, SnapshotStore } from '../../device/index.ts';
import { makeDebianRoot } from '../../guest-images/debian-root.ts';
import { DEBIAN_IMAGE, ensureDebianImage } from '../../harness/bench/debian.ts';
import { Server } from '../../harness/bench/network.ts';
import { openImageAt } from '../../harness/node/images/open.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useCli } from '../support/cli.ts';
import { migrateBroken, RUNNING, SWITCH } from '../support/migrations.ts';

const LONG = 600_000;
/** For a Debian root that is made: where QEMU has to run its programs, it takes ten times as long. */
const MAKING = 6 * LONG;

/** What has to be said in the end, by a command of an ordinary day. */
const DAY: Record<string, [command: string, said: string | RegExp]> = {
  python3: [
    'python3 -c \'import json, hashlib, sqlite3; print(json.dumps({"sum": sum(range(1000))}), hashlib.sha256(b"x").hexdigest()[:8])\'',
    '{"sum": 499500} 2d711642\n',
  ],
  gcc: [
    'cd /tmp && printf \'#include <stdio.h>\\nint main(void) { puts("hello"); return 0; }\\n\' > hello.c && gcc -O2 -Wall -o hello hello.c && ./hello',
    'hello\n',
  ],
  make: [
    "cd /tmp && printf 'hello: hello.c\\n' > Makefile && touch hello.c && make && ./hello",
    /cc .*hello.c.*\nhello\n$/,
  ],
  git: [
    'rm -rf /tmp/repo && mkdir /tmp/repo && cd /tmp/repo && git init -q && echo one > file && git add . && git -c user.name=me -c user.email=me@here commit -qm first && git log --format=%s && git fsck --strict',
    'first\n',
  ],
  vim: ["echo one > /tmp/text && vim -es -c '%s/one/two/' -c wq /tmp/text && cat /tmp/text", 'two\n'],
  perl: ['perl -MPOSIX -e \'print join(",", map { $_ ** 2 } 1..5), "\\n"\'', '1,4,9,16,25\n'],
  sqlite3: [
    "rm -f /tmp/db && sqlite3 /tmp/db 'pragma journal_mode=wal; create table t(x); insert into t values(1),(2); select sum(x) from t; pragma integrity_check'",
    'wal\n3\nok\n',
  ],
  tmux: [
    "tmux -f /dev/null new-session -d -s one 'echo in tmux; exec sleep 1000' && until tmux capture-pane -p -t one | grep -q tmux; do sleep 0.2; done; tmux capture-pane -p -t one | head -1; tmux kill-server",
    'in tmux\n',
  ],
  'apt-get install of a local package': [
    `mkdir -p /tmp/deb/DEBIAN /tmp/deb/usr/bin && cd /tmp &&
     printf 'Package: greeting\\nVersion: 1\\nArchitecture: all\\nMaintainer: me <me@here>\\nDepends: python3\\nDescription: greets\\n' > deb/DEBIAN/control &&
     printf '#!/bin/sh\\necho greetings\\n' > deb/usr/bin/greeting && chmod 755 deb/usr/bin/greeting &&
     printf '#!/bin/sh\\ntouch /installed\\n' > deb/DEBIAN/postinst && chmod 755 deb/DEBIAN/postinst &&
     dpkg-deb -b deb greeting.deb > /dev/null && apt-get install -qq -y ./greeting.deb > /tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }
     greeting && ls /installed && dpkg -s greeting | grep Status && dpkg --audit`,
    'greetings\n/installed\nStatus: install ok installed\n',
  ],
  'users and sudo': [
    'su - user -c \'id -un; echo "$HOME"; sudo id -un; cd && echo mine > file && stat -c "%U %n" file\'',
    'user\n/home/user\nroot\nuser file\n',
  ],
  locales: [
    'locale -a; LC_ALL=en_US.UTF-8 python3 -c \'import locale; locale.setlocale(locale.LC_ALL, ""); print(f"{1234567:n}")\'',
    /^C\.utf8\n[\s\S]*^en_US\.utf8\n1,234,567\n/m,
  ],
  'a login shell with colours and completion': [
    'bash -lic \'alias ls; type -t _init_completion; [[ $PS1 == *"[01;32m"* ]] && echo colours\' 2> /dev/null',
    "alias ls='ls --color=auto'\nfunction\ncolours\n",
  ],
};

/** Of the Debian, from a web server. */
function useDebian(): { url: () => string; filesystem: () => Promise<MemoryFileSystem> } {
  let server: Server;
  const open: OpenImage[] = [];
  const url = () => new URL(DEBIAN_IMAGE, server.base).href;
  before(async function () {
    this.timeout(MAKING);
    server = await Server.start(await ensureDebianImage());
  });
  after(async () => {
    for (const { origin } of open) origin.close();
    await server?.stop();
  });
  return {
    url,
    filesystem: async () => {
      const image = await openImageAt(url());
      open.push(image);
      return imageFileSystem(image);
    },
  };
}

for (const kernel of ['minimal', 'stock'] as const) {
  describe(`a Debian root, on the kernel ${kernel}`, function () {
    this.timeout(LONG);
    const debian = useDebian();
    const cli = useCli();
    let vm: Vm;

    before(async () => {
      vm = await Vm.boot({ kernel, memory: 512, root: { filesystem: await debian.filesystem() } });
    });
    after(() => vm?.stop());

    const ask = async (command: string, machine = vm) => {
      const { code, stdout, stderr } = await machine.exec(['bash', '-c', command], { timeoutMs: LONG });
      expect(code, `${command}\n${stdout}${stderr}`).to.equal(0);
      return stdout;
    };

    for (const [name, [command, said]] of Object.entries(DAY))
      it(name, async () => {
        const stdout = await ask(command);
        if (typeof said === 'string') expect(stdout).to.equal(said);
        else expect(stdout).to.match(said);
      });

    describe('with gcc in the middle of its work', () => {
      const SUM = 'while [ ! -s /root/sum ]; do sleep 0.2; done; cat /root/sum';
      let directory: string;
      let snapshots: SnapshotStore;
      let expected: string;
      /** Snapshots of it. */
      const ids: string[] = [];

      before(async () => {
        directory = await mkdtemp(join(tmpdir(), 'debian-gcc-'));
        snapshots = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
        const functions = Array.from({ length: 150 }, (_, n) => `int f${n}(int x) { return x * ${n} + ${n % 7}; }`);
        vm.share('root').fs.writeFileSync(
          '/root/many.c',
          [...functions, 'int main(void) { return f149(1); }'].join('\n'),
        );
        expected = await ask('cd /root && gcc -O2 -c -o plain.o many.c && md5sum < plain.o');
        vm.spawn('cd /root && gcc -O2 -c -o many.o many.c && md5sum < many.o > sum.new && mv sum.new sum');
        await ask('until pgrep -x cc1; do sleep 0.1; done');
        for (let n = 0; n < 2; n++) ids.push((await vm.freeze(snapshots)).id);
        expect(vm.share('root').fs.existsSync('/root/sum')).to.equal(false);
      });
      after(() => rm(directory, { recursive: true }));

      it('goes on where it was frozen', async () => {
        expect(await ask(SUM)).to.equal(expected);
      });

      it('goes on in another process', async () => {
        for (const id of ids) {
          const words = ['restore', '--store', directory, '--image', debian.url(), id, '--', 'sh', '-c', SUM];
          const { code, stdout, stderr } = await cli.run(words);
          expect(stdout, stderr).to.equal(expected);
          expect(code).to.equal(0);
        }
      });

      it('goes on in several copies, each with files of its own', async function () {
        // Two compilers in one process.
        this.timeout(3 * LONG);
        const copies = await Promise.all(
          [0, 1].map(async () => Vm.thaw(snapshots, ids[1]!, { root: { filesystem: await freshFiles() } })),
        );
        try {
          const sums = await Promise.all(
            copies.map(async (copy, n) => {
              await ask(`echo ${n} > /root/number`, copy);
              return (await ask(SUM, copy)) + (await ask('cat /root/number', copy));
            }),
          );
          expect(sums).to.deep.equal([0, 1].map((n) => `${expected}${n}\n`));
        } finally {
          await Promise.all(copies.map((copy) => copy.stop()));
        }
      });

      it('goes on where it was migrated to, wherever the connection breaks', async () => {
        let machine = await Vm.thaw(snapshots, ids[0]!, { root: { filesystem: await freshFiles() } });
        try {
          const outcomes: string[] = [];
          for (const broken of [{ bytes: 100_000 }, { type: SWITCH, after: 20 }, { type: RUNNING, after: 5 }, {}]) {
            const result = await migrateBroken(machine, broken, { images: [debian.url()] });
            outcomes.push(result.outcome);
            machine = result.vm;
          }
          expect(outcomes).to.include.members(['here', 'there']);
          expect(await ask(SUM, machine)).to.equal(expected);
        } finally {
          await machine.stop();
        }
      });

      /** On the same image, with nothing in it yet. */
      const freshFiles = async () => new MemoryFileSystem({ origin: (await debian.filesystem()).origin });
    });
  });

  describe(`a Debian root with systemd, on the kernel ${kernel}`, function () {
    this.timeout(LONG);
    const debian = useDebian();

    it('reaches multi-user.target without a unit that has failed', async () => {
      const root = { filesystem: await debian.filesystem(), init: '/sbin/init' };
      const vm = await Vm.boot({ kernel, memory: 512, root });
      try {
        const { stdout } = await vm.exec(
          'until [ -S /run/systemd/private ]; do sleep 1; done; systemctl is-system-running --wait; systemctl --failed --plain --no-legend',
          { timeoutMs: LONG },
        );
        expect(stdout).to.equal('running\n');
        expect((await vm.exec('systemctl is-active multi-user.target')).stdout).to.equal('active\n');
      } finally {
        await vm.stop();
      }
    });
  });
}

describe('making a Debian root', function () {
  this.timeout(MAKING);

  it('makes the same bytes of the same packages', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'debian-root-'));
    try {
      const sums: string[] = [];
      for (const name of ['one.tar', 'two.tar']) {
        await makeDebianRoot(join(directory, name), { packages: ['sqlite3'] });
        const hash = createHash('sha256');
        await pipeline(createReadStream(join(directory, name)), hash);
        sums.push(hash.digest('hex'));
      }
      expect(sums[0]).to.equal(sums[1]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('says which package there is not', async () => {
    const made = makeDebianRoot(join(tmpdir(), 'never.tar'), { packages: ['no-such-package'] });
    const message = await made.then(
      () => '',
      (error: Error) => error.message,
    );
    expect(message).to.include('Check the names of the packages').and.to.include('no-such-package');
  });
});
