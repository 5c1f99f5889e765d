import { Readable } from 'node:stream';
import { expect } from 'chai';
import { VmError } from '../../harness/index.ts';
import { useGuest } from '../support/guest.ts';

const failure = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    (result) => expect.fail(`it came to an end: ${JSON.stringify(result)}`),
    (error: Error) => error,
  );

describe('a command in the guest', function () {
  this.timeout(300_000);
  const guest = useGuest();

  it('takes a stream, as much of it as it wants', async () => {
    const text = 'x'.repeat(100_000);
    const { stdout } = await guest.vm.exec('wc -c; cat', { stdin: Readable.from([text, Buffer.from(text)]) });
    expect(stdout).to.equal('200000\n');
    let given = 0;
    async function* endless() {
      for (;;) yield `${given++}\n`;
    }
    expect((await guest.vm.exec('head -n 2', { stdin: endless() })).stdout).to.equal('0\n1\n');
    async function* failing() {
      yield 'first\n';
      throw new Error('no more');
    }
    expect((await failure(guest.vm.exec('cat; sleep 1000', { stdin: failing() }))).message).to.equal('no more');
    expect((await guest.vm.exec('pgrep -f [s]leep')).stdout).to.equal('');
  });

  it('tells of its lines as they come', async () => {
    const lines: string[] = [];
    let isOver = false;
    const work = guest.vm.exec('echo one; printf "two\\r\\nth" ; echo error >&2; read x; printf "ree"', {
      stdin: (async function* () {
        while (lines.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
        expect(isOver).to.equal(false);
        yield '\n';
      })(),
      onLine: (line, from) => void lines.push(`${from}: ${line}`),
    });
    const { stdout, stderr } = await work.finally(() => (isOver = true));
    expect([stdout, stderr]).to.deep.equal(['one\ntwo\r\nthree', 'error\n']);
    expect(lines.filter((line) => line.startsWith('stdout'))).to.deep.equal([
      'stdout: one',
      'stdout: two',
      'stdout: three',
    ]);
    expect(lines).to.include('stderr: error');
    const unwell = guest.vm.exec('echo one; sleep 1000', {
      onLine: () => {
        throw new Error('not this line');
      },
    });
    expect((await failure(unwell)).message).to.equal('not this line');
  });

  it('has to succeed, if that is asked for', async () => {
    const error = await failure(guest.vm.exec('echo out; echo wrong >&2; exit 3', { check: true }));
    expect(error).to.be.instanceOf(VmError).with.property('kind', 'guest');
    expect(error.message).to.match(/has ended with 3: echo out.*\nout\nwrong$/s);
    expect((await guest.vm.exec('exit 0', { check: true })).code).to.equal(0);
    // What a guest says must not steer the terminal that an error is shown on.
    const unsafe = await failure(guest.vm.exec('printf "\\033[2J"; exit 1', { check: true }));
    expect(unsafe.message).to.match(/\n\\x1b\[2J$/);
  });

  it('runs as somebody else', async () => {
    const run = async (user: string, env?: Record<string, string>) =>
      (await guest.vm.exec('id -u; id -g; echo $HOME $USER', { user, env })).stdout;
    expect(await run('nobody')).to.match(/^65534\n65534\n\S+ nobody\n$/);
    expect(await run('65534:0')).to.match(/^65534\n0\n/);
    expect(await run('nobody', { HOME: '/tmp' })).to.match(/\n\/tmp nobody\n$/);
    for (const user of ['', 'a b', '-x', '0;id'])
      expect(await failure(guest.vm.exec('id', { user }))).to.have.property('kind', 'configuration');
  });

  it('has a terminal, if that is asked for, of the size that is asked for', async () => {
    expect((await guest.vm.exec('tty; stty size; echo error >&2', { pty: true })).stdout).to.match(
      /^\/dev\/pts\/\d+\r\n24 80\r\nerror\r\n$/,
    );
    expect((await guest.vm.exec('stty size', { pty: { columns: 132, rows: 50 } })).stdout).to.equal('50 132\r\n');
    // What is typed is shown by the terminal, and its end ends the command.
    const typed = await guest.vm.exec('while read x; do echo "got $x"; done', { pty: true, stdin: 'one\n' });
    expect([typed.code, typed.stdout.replace('one\r\n', '')]).to.deep.equal([0, 'got one\r\n']);
    expect((await guest.vm.exec('tty')).stdout).to.equal('not a tty\n');
  });

  it('is sent the signal that it can clean up at, when it is given up', async () => {
    const given = new AbortController();
    const script = 'trap "echo cleaned > /tmp/cleaned; exit" INT; echo ready; while :; do sleep 0.1; done';
    const work = guest.vm.exec(script, {
      signal: given.signal,
      killSignal: 'SIGINT',
      onLine: () => given.abort(new Error('given up')),
    });
    expect((await failure(work)).message).to.equal('given up');
    expect((await guest.vm.exec('until [ -s /tmp/cleaned ]; do sleep 0.1; done; cat /tmp/cleaned')).stdout).to.equal(
      'cleaned\n',
    );
    const late = guest.vm.exec(script.replaceAll('cleaned', 'late'), { timeoutMs: 2000, killSignal: 2 });
    expect(await failure(late)).to.have.property('kind', 'timeout');
    await guest.vm.exec('until [ -s /tmp/late ]; do sleep 0.1; done');
    expect(await failure(guest.vm.exec('touch /tmp/none', { killSignal: 'SIGNONE' as never }))).to.be.instanceOf(
      RangeError,
    );
    expect((await guest.vm.exec('ls /tmp/none')).code).to.equal(1);
  });
});
