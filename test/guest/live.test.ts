import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { runShell } from '../support/guest.ts';

describe('a live share', function () {
  this.timeout(300_000);
  let directory: string;
  let vm: Vm;
  const at = (...names: string[]) => join(directory, ...names);
  const host = (...names: string[]) => readFileSync(at(...names), 'utf8');
  const sh = (command: string, machine = vm) => runShell(machine, command);
  const boot = async (options: Partial<ShareOptions> = {}) => {
    vm = await Vm.boot({ shares: [{ tag: 'share', source: directory, live: true, ...options }] });
    await vm.mount();
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'live-'));
    chmodSync(directory, 0o755);
    mkdirSync(at('d'));
    for (const name of ['a', 'b', 'c', 'd/e']) writeFileSync(at(name), `${name}\n`);
  });
  afterEach(async () => {
    await vm.stop();
    const left = readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        const path = readlinkSync(`/proc/self/fd/${fd}`);
        return path.startsWith(directory) ? [path] : [];
      } catch {
        return [];
      }
    });
    expect(left, 'no descriptor is left').to.deep.equal([]);
    rmSync(directory, { recursive: true });
  });

  it('is changed by the guest and the host at once, and neither waits for the other', async () => {
    await boot({ cache: 'never' });
    expect(await sh('cat a; echo guest >> a; mkdir n; echo x > n/x; ln -s ../c n/l; mv b d/b; rm c')).to.equal('a\n');
    expect([host('a'), host('n', 'x'), host('d', 'b'), readdirSync(directory).sort().join()]).to.deep.equal([
      'a\nguest\n',
      'x\n',
      'b\n',
      'a,d,n',
    ]);
    // As an editor saves.
    for (let n = 0; n < 3; n++) {
      writeFileSync(at('saved'), `version ${n}\n`);
      renameSync(at('saved'), at('a'));
      expect(await sh('cat a')).to.equal(`version ${n}\n`);
    }
    renameSync(at('d'), at('moved'));
    expect(await sh('ls; cat moved/e; ls d 2>/dev/null || echo gone')).to.equal('a\nmoved\nn\nd/e\ngone\n');
  });

  it('goes on after a snapshot in the same machine, and in another: what is gone is stale, the rest is where it is now', async () => {
    await boot();
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    // Open files and a directory, in a shell that goes on when it is told to.
    await sh(
      "mkfifo /tmp/go; sh -c 'exec 3<a 4<b 5>>c 6<d; cd d; touch /tmp/ready; read go </tmp/go; (cat <&3; cat <&4; echo more >&5; cat e) >/tmp/out 2>&1; echo done >/tmp/done' >/dev/null 2>&1 & until [ -e /tmp/ready ]; do sleep 0.05; done",
    );
    const { id } = await vm.freeze(store);
    const goOn = async (machine: Vm) =>
      sh('echo go > /tmp/go; while ! [ -e /tmp/done ]; do sleep 0.1; done; cat /tmp/out', machine);
    unlinkSync(at('a'));
    renameSync(at('b'), at('d', 'renamed'));
    writeFileSync(at('new'), '');
    renameSync(at('new'), at('e'));
    renameSync(at('d'), at('elsewhere'));
    // The host has one file less; what the machine itself has open stays.
    await vm.thaw(store, id);
    expect(await goOn(vm)).to.equal('a\nb\nd/e\n');
    expect(host('c')).to.equal('c\nmore\n');
    await vm.stop();

    const error = await Vm.thaw(store, id).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(VmError).with.property('message').that.contains('name it with --live DIR');
    vm = await Vm.thaw(store, id, { live: [directory] });
    expect(await goOn(vm)).to.match(/^cat: .*(Stale|Bad file descriptor).*\nb\nd\/e\n$/);
    expect(host('c')).to.equal('c\nmore\nmore\n');
    expect(await sh('ls; cat c')).to.equal('c\ne\nelsewhere\nc\nmore\nmore\n');
  });

  it('is read and written by root and by users as the host has it', async () => {
    await boot({ setIds: true });
    await sh(
      'mkdir -m 1777 t; start-stop-daemon -S -p /proc/self/none -c 1000:1000 -x /bin/sh -- -c "echo mine > t/f; chmod 4755 t/f"',
    );
    expect(await sh('stat -c "%a" t/f; cat t/f')).to.equal('4755\nmine\n');
    if (process.getuid!() === 0) expect(await sh('stat -c "%u:%g" t/f')).to.equal('1000:1000\n');
    expect(await sh("df -k . | tail -1 | awk '{ print ($2 > 1000) }'")).to.equal('1\n');
    expect(await sh('dd if=/dev/zero of=big bs=1M count=8 2>/dev/null; sync big; wc -c < big')).to.equal('8388608\n');
    expect(host('big')).to.have.length(8 << 20);
  });
});
