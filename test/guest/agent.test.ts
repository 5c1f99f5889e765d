import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { encodeFrame, TO_GUEST, TO_HOST } from '../../harness/machine/agent/frames.ts';
import { GuestAgent, uartChannel } from '../../harness/machine/agent/guest-agent.ts';
import { CommandError, VmError } from '../../harness/machine/errors.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useGuest } from '../support/guest.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('commands in the guest', () => {
  const guest = useGuest({ shares: [] });

  it('stdout, stderr and exit code come apart', async () => {
    const result = await guest.vm.exec('echo out; echo err >&2; exit 42');
    expect(result).to.deep.equal({ stdout: 'out\n', stderr: 'err\n', code: 42 });
  });

  it('output of any bytes comes whole', async () => {
    const { stdout } = await guest.vm.execBytes(
      'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %o $i)"; i=$((i+1)); done',
    );
    expect([...stdout]).to.deep.equal([...Array(256).keys()]);
    const { stdout: big } = await guest.vm.execBytes(
      'dd if=/dev/urandom of=/tmp/big bs=64k count=40 2>/dev/null; cat /tmp/big',
    );
    const { stdout: sum } = await guest.vm.exec('sha256sum /tmp/big; rm /tmp/big');
    expect(big.length).to.equal(40 * 65536);
    expect(sum.split(' ')[0]).to.equal(sha256(big));
  });

  it('stdin of any bytes is fed, and ends', async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    const input = Buffer.concat(Array.from({ length: 6 }, () => bytes));
    const { stdout } = await guest.vm.exec('sha256sum', { stdin: input });
    expect(stdout.split(' ')[0]).to.equal(sha256(input));
    expect((await guest.vm.exec('cat')).stdout).to.equal('');
  });

  it('a process that does not read its stdin holds up nobody', async () => {
    const lazy = guest.vm.spawn('sleep 1000');
    const written = lazy.write(new Uint8Array(300_000)).catch(() => 'lost');
    expect((await guest.vm.exec('echo meanwhile')).stdout).to.equal('meanwhile\n');
    lazy.kill(9);
    expect(await lazy.exited).to.equal(128 + 9);
    expect(await written).to.equal('lost');
  });

  it('many run at once', async () => {
    const results = await Promise.all(
      Array.from({ length: 30 }, (_, n) => guest.vm.exec(`read x; echo $((x * 2)); exit ${n}`, { stdin: `${n}\n` })),
    );
    expect(results.map(({ stdout, code }) => [stdout, code])).to.deep.equal(
      Array.from({ length: 30 }, (_, n) => [`${2 * n}\n`, n]),
    );
  });

  it('arguments, environment and working directory arrive as they are', async () => {
    const { stdout } = await guest.vm.exec(
      ['sh', '-c', 'printf "%s|" "$@"; echo "$A$PWD"', 'sh', 'a b', '', 'ünï "\'$x'],
      { env: { A: 'x=y ' }, cwd: '/proc' },
    );
    expect(stdout).to.equal('a b||ünï "\'$x|x=y /proc\n');
    const long = 'x'.repeat(50_000);
    expect((await guest.vm.exec(['sh', '-c', 'echo ${#1}', 'sh', long])).stdout).to.equal('50000\n');
  });

  it('variables take the place of those that were there, for one command, and PATH says where it is looked for', async () => {
    await guest.vm.exec(
      'mkdir -p /tmp/tools && printf "#!/bin/sh\\necho \\$HOME \\$USER\\n" >/tmp/tools/whose && chmod +x /tmp/tools/whose',
    );
    expect((await guest.vm.exec(['whose'], { env: { PATH: '/tmp/tools:/bin', HOME: '/elsewhere' } })).stdout).to.equal(
      '/elsewhere root\n',
    );
    expect((await guest.vm.exec('echo $HOME $PATH')).stdout).to.match(/^\/root \/usr\/local\/sbin:/);
  });

  it('an agent that is in the middle of a frame answers the next host', async () => {
    const channel = uartChannel(guest.vm.emulator);
    const frame = encodeFrame(TO_GUEST.INPUT, 1, new Uint8Array(1000));
    channel.write(frame.subarray(0, 100));
    const next = new GuestAgent(channel);
    await next.ready();
    expect(Buffer.from((await next.exec('echo heard')).stdout).toString()).to.equal('heard\n');
    await guest.vm.agent.ready();
  });

  it('what ends by a signal has 128 + its number', async () => {
    expect((await guest.vm.exec('kill -SEGV $$')).code).to.equal(128 + 11);
  });

  it('a signal is known by its name, can be trapped, and reaches every process of a command', async () => {
    const begin = async (script: string) => {
      const command = guest.vm.spawn(script);
      const told: string[] = [];
      await new Promise<void>((resolve) => {
        command.onStdout = (data) => {
          told.push(new TextDecoder().decode(data).trim());
          resolve();
        };
      });
      return { command, told };
    };
    const trapping = await begin("trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.1; done");
    trapping.command.kill('SIGINT');
    expect(await trapping.command.exited).to.equal(7);
    expect(trapping.told).to.deep.equal(['ready', 'interrupted']);
    const parent = await begin('sleep 1000 & echo $!; wait');
    parent.command.kill('SIGUSR1');
    expect(await parent.command.exited).to.equal(128 + 10);
    expect(
      (await guest.vm.exec(`while kill -0 ${parent.told[0]} 2>/dev/null; do sleep 0.05; done`, { timeoutMs: 10_000 }))
        .code,
    ).to.equal(0);
    expect(() => parent.command.kill('SIGNONE' as 'SIGTERM')).to.throw(RangeError);
  });

  it('a program that is not there is an error that says so', async () => {
    const error = await guest.vm.exec(['no-such-program']).catch((caught: Error) => caught);
    expect(error).to.be.instanceOf(CommandError).that.deep.includes({ kind: 'guest', code: 127 });
    const nowhere = await guest.vm.exec('true', { cwd: '/no/such' }).catch((caught: Error) => caught);
    expect(nowhere).to.be.instanceOf(CommandError).that.deep.includes({ kind: 'guest', code: 126 });
  });

  it('a background process does not hold up the end', async () => {
    expect((await guest.vm.exec('sleep 1000 & echo started')).stdout).to.equal('started\n');
    await guest.vm.exec('killall sleep');
  });

  it('output waits for a listener', async () => {
    const process = guest.vm.spawn('echo early; echo late; exit 5');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const heard: string[] = [];
    process.onStdout = (data) => void heard.push(new TextDecoder().decode(data));
    expect(await process.exited).to.equal(5);
    expect(heard.join('')).to.equal('early\nlate\n');
  });

  it('a terminal has its size, takes Ctrl-C and can be resized', async () => {
    const shell = guest.vm.spawn('trap "stty size; exit 3" WINCH; stty size; while :; do sleep 0.1; done', {
      pty: { columns: 100, rows: 30 },
    });
    let heard = '';
    const until = async (text: string) => {
      while (!heard.includes(text)) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    shell.onStdout = (data) => {
      heard += new TextDecoder().decode(data);
    };
    await until('30 100');
    shell.resize(120, 40);
    await until('40 120');
    expect(await shell.exited).to.equal(3);
    const sleeper = guest.vm.spawn('sleep 1000', { pty: { columns: 80, rows: 24 } });
    await sleeper.write('\x03');
    expect(await sleeper.exited).to.equal(128 + 2);
  });

  it('the end of stdin comes through a terminal that was full', async () => {
    const line = `${'x'.repeat(99)}\n`;
    const reader = guest.vm.spawn('stty -echo; echo ready; until [ -e /tmp/go ]; do sleep 0.05; done; wc -c', {
      pty: { columns: 80, rows: 24 },
    });
    let heard = '';
    await new Promise<void>((resolve) => {
      reader.onStdout = (data) => {
        heard += new TextDecoder().decode(data);
        if (heard.includes('ready')) resolve();
      };
    });
    void reader.write(line.repeat(300));
    reader.closeStdin();
    await guest.vm.exec('sleep 0.5; touch /tmp/go');
    expect(await reader.exited).to.equal(0);
    expect(heard).to.match(/^ready\s+30000\s+$/);
  });

  it('processes can be left, listed and found again, by another agent of another machine too', async () => {
    const { vm } = guest;
    const first = vm.spawn('echo one; read x; echo got $x');
    const id = first.id;
    await new Promise<void>((resolve) => {
      first.onStdout = () => resolve();
    });
    first.detach();
    expect(await vm.agent.list()).to.include(id);
    const other = await Vm.restore(await vm.save());
    try {
      for (const machine of [vm, other]) {
        expect(await machine.agent.list()).to.include(id);
        const again = machine.agent.attach(id);
        let heard = '';
        again.onStdout = (data) => {
          heard += new TextDecoder().decode(data);
        };
        await again.write('input\n');
        expect(await again.exited).to.equal(0);
        expect(heard).to.equal('got input\n');
        expect(await machine.agent.list()).not.to.include(id);
      }
      const gone = await vm.agent.attach(id).exited.catch((error: Error) => error.message);
      expect(gone).to.contain('no such process');
    } finally {
      await other.stop();
    }
  });

  for (const [what, frame] of [
    ['a frame that is too short', encodeFrame(TO_HOST.TAKEN, 0, new Uint8Array(0))],
    ['something else', Uint8Array.of(104, 105)],
  ] as const) {
    it(`a guest that writes ${what} to the agent's port ends that link alone`, async () => {
      const octal = [...frame].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
      const waiting = guest.vm.spawn('sleep 1000');
      const list = guest.vm.agent.list();
      const error = await guest.vm
        .exec(['sh', '-c', `printf '${octal}' > /dev/ttyS1; sleep 1000`])
        .catch((caught: Error) => caught);
      expect(error).to.be.instanceOf(VmError).with.property('kind', 'guest');
      expect(error)
        .to.have.property('message')
        .that.matches(/the link to the guest's agent has ended: something other than the agent's frames arrived/);
      expect(await waiting.exited.catch((caught: Error) => caught)).to.equal(error);
      await list.catch(() => {});
      expect(await guest.vm.exec('true').catch((caught: Error) => caught)).to.equal(error);
      await guest.vm.agent.ready();
      expect((await guest.vm.exec('echo goes on; killall sleep')).stdout).to.equal('goes on\n');
    });
  }

  it('a command that says more than is wanted is killed', async () => {
    const error = await guest.vm.exec('cat /dev/zero', { maxOutput: 3 << 20 }).catch((caught: Error) => caught);
    expect(error).to.be.instanceOf(VmError).with.property('message').that.contains('more than 3145728 bytes');
    const gone = await guest.vm.exec('while pidof cat > /dev/null; do sleep 0.05; done', { timeoutMs: 30_000 });
    expect(gone.code).to.equal(0);
  });
});
