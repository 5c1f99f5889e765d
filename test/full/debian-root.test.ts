import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { ensureDebianRoot, makeDebianRoot } from '../../guest-images/debian-root.ts';
import { Vm } from '../../harness/node/vm.ts';

const PACKAGES = [
  ...['ca-certificates', 'curl', 'gcc', 'git', 'libc6-dev', 'make', 'perl', 'python3', 'sqlite3', 'tmux', 'vim'],
  ...['dbus', 'systemd-sysv', 'udev'],
];
const LONG = 600_000;

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

for (const kernel of ['minimal', 'stock'] as const) {
  describe(`a Debian root, on the kernel ${kernel}`, function () {
    this.timeout(LONG);
    let vm: Vm;

    before(async function () {
      this.timeout(2 * LONG);
      const root = await ensureDebianRoot({ packages: PACKAGES });
      vm = await Vm.boot({ kernel, memory: 512, root });
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

    it('goes on with gcc in the middle of its work, wherever it was frozen', async () => {
      const snapshots = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const source = Array.from({ length: 200 }, (_, n) => `int f${n}(int x) { return x * ${n} + ${n % 7}; }`).join(
        '\n',
      );
      vm.share('root').fs.writeFileSync('/root/many.c', `${source}\nint main(void) { return f199(1) - 199; }\n`);
      const { stdout: plain } = await vm.exec('cd /root && gcc -O2 -c -o plain.o many.c && md5sum < plain.o', {
        timeoutMs: LONG,
      });
      const gcc = vm.spawn('cd /root && gcc -O2 -c -o many.o many.c && md5sum < many.o > sum');
      let isDone = false;
      void gcc.exited.then(() => (isDone = true));
      const ids: string[] = [];
      // The first one has all of the root.
      while (!isDone && ids.length < 2) ids.push((await vm.freeze(snapshots)).id);
      expect(ids).not.to.have.length(0);
      for (const id of ids) {
        const back = await Vm.thaw(snapshots, id);
        try {
          expect(await ask('while [ ! -s /root/sum ]; do sleep 0.2; done; cat /root/sum', back)).to.equal(plain);
        } finally {
          await back.stop();
        }
      }
    });
  });
}

describe('a Debian root with systemd', function () {
  this.timeout(LONG);

  it('reaches multi-user.target without a unit that has failed', async () => {
    const root = await ensureDebianRoot({ packages: PACKAGES });
    const vm = await Vm.boot({ kernel: 'stock', memory: 512, root: { source: root, init: '/sbin/init' } });
    try {
      const { stdout } = await vm.exec(
        'until [ -S /run/systemd/private ]; do sleep 1; done; systemctl is-system-running --wait; systemctl --failed --plain --no-legend',
        {
          timeoutMs: LONG,
        },
      );
      expect(stdout).to.equal('running\n');
      expect((await vm.exec('systemctl is-active multi-user.target')).stdout).to.equal('active\n');
    } finally {
      await vm.stop();
    }
  });
});

describe('making a Debian root', function () {
  this.timeout(2 * LONG);

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
