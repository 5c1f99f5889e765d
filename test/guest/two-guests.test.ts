import { expect } from 'chai';
import { Volume } from '../../device/index.ts';
import type { GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { useGuest } from '../support/guest.ts';

describe('two guests in two emulators on one filesystem', () => {
  const volume = new Volume();
  const shares = [{ tag: 'share', volume, locks: 'shared' as const, cache: 'never' as const }];
  const [one, two] = [useGuest({ shares }), useGuest({ shares })];
  const both = [one, two];

  /** A process that locks, and the lines that it says. */
  function locker(
    { vm }: typeof one,
    ...words: string[]
  ): { process: GuestProcess; said: (pattern: RegExp) => Promise<void> } {
    const process = vm.spawn(['locker', ...words], { cwd: '/mnt/share' });
    let text = '';
    const looks: (() => void)[] = [];
    process.onStdout = (bytes) => {
      text += new TextDecoder().decode(bytes);
      for (const look of looks) look();
    };
    return {
      process,
      said: (pattern) =>
        new Promise((resolve) => {
          looks.push(() => void (pattern.test(text) && resolve()));
          looks.at(-1)!();
        }),
    };
  }

  for (const kind of ['posix', 'ofd', 'flock']) {
    it(`${kind} locks of one keep the other out, and go first to who asked first`, async () => {
      const holder = locker(one, kind, kind);
      await holder.said(/locked/);
      expect(await two.sh(`locker ${kind} ${kind} try < /dev/null || true`)).to.match(/^failed/);
      const order: number[] = [];
      const waiting: ReturnType<typeof locker>[] = [];
      for (const [n, guest] of [two, one, two].entries()) {
        const next = locker(guest, kind, kind);
        void next.said(/locked/).then(() => order.push(n));
        waiting.push(next);
        // It has asked when another request of its guest is answered after it.
        while ([...guest.vm.share().files.locks.waiters()].length <= n) await guest.sh('true');
      }
      expect(order).to.deep.equal([]);
      await holder.process.write('\n');
      for (const next of waiting) {
        await next.said(/locked/);
        await next.process.write('\n');
        expect(await next.process.exited).to.equal(0);
      }
      expect(order).to.deep.equal([0, 1, 2]);
      expect(await two.sh(`locker ${kind} ${kind} try < /dev/null`)).to.equal('locked\n');
    });
  }

  it('a deadlock across both is seen', async () => {
    const first = locker(one, 'posix', 'left', 'wait', 'right');
    await first.said(/locked/);
    const second = locker(two, 'posix', 'right', 'wait', 'left');
    await second.said(/locked/);
    await first.process.write('\n');
    while ([...two.vm.share().files.locks.waiters()].length === 0) await one.sh('true');
    await second.process.write('\n');
    await second.said(/second Resource deadlock/);
    await second.process.write('\n');
    await first.said(/second locked/);
    await first.process.write('\n');
    expect(await first.process.exited).to.equal(0);
  });

  it('what one has written the other reads, and appends of both are whole', async () => {
    await one.sh('echo from one > f; mkdir d; echo x > d/x');
    expect(await two.sh('cat f; stat -c %s f; mv d e; rm f; ls e')).to.equal('from one\n9\nx\n');
    expect(await one.sh('cat e/x; ls')).to.match(/^x\n(?!.*\bf\n)/s);
    await Promise.all(
      both.map(({ sh }, n) => sh(`i=0; while [ $i -lt 100 ]; do echo "guest ${n} line $i" >> log; i=$((i+1)); done`)),
    );
    const lines = String(volume.readFileSync('/log')).trim().split('\n');
    for (const n of [0, 1])
      expect(lines.filter((line) => line.startsWith(`guest ${n} `))).to.deep.equal(
        Array.from({ length: 100 }, (_, i) => `guest ${n} line ${i}`),
      );
    expect(lines).to.have.length(200);
  });

  it('a counter that both count up comes out right: who makes a directory is alone', async () => {
    volume.writeFileSync('/counter', '0');
    const count =
      'set -e; for i in $(seq 20); do until mkdir busy 2> /dev/null; do :; done; n=$(cat counter); echo $((n + 1)) > counter; rmdir busy; done';
    await Promise.all(both.map(({ sh }) => sh(count, { timeoutMs: 200_000 })));
    expect(String(volume.readFileSync('/counter'))).to.equal('40\n');
  });

  it('a file that one has open stays when the other removes it', async () => {
    const reader = one.vm.spawn('exec 3< kept; echo ready; read line; cat <&3', { cwd: '/mnt/share' });
    volume.writeFileSync('/kept', 'still here');
    const text = await new Promise<string>((resolve) => {
      let all = '';
      reader.onStdout = (bytes) => {
        all += new TextDecoder().decode(bytes);
        if (all === 'ready\n') void two.sh('rm kept; echo other > kept').then(() => reader.write('\n'));
      };
      void reader.exited.then(() => resolve(all));
    });
    expect(text).to.equal('ready\nstill here');
    expect(await one.sh('cat kept')).to.equal('other\n');
  });
});
