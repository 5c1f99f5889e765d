import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { generate } from 'selfsigned';
import { WebSocket } from 'ws';
import { MigrationError, makeToken, type WebSocketLike, webSocketChannel } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useCli } from '../support/cli.ts';
import { breakingProxy, RUNNING, SWITCH } from '../support/migrations.ts';

const env = { V86_VIRTIOFS_TOKEN: makeToken() };

describe('command line: migration', function () {
  this.timeout(300_000);
  const { run, start } = useCli();
  let directory: string;
  const migrate = (...args: string[]) => ['migrate', 'base', '--store', directory, ...args];

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cli-'));
    const { code, stderr } = await run([
      'freeze',
      '--store',
      directory,
      '--name',
      'base',
      '--',
      'sh',
      '-c',
      'echo kept > file',
    ]);
    expect(code, stderr).to.equal(0);
  });
  after(() => {
    for (const path of [directory, `${directory}.migrations`]) rmSync(path, { recursive: true, force: true });
  });

  const begin =
    'exec 5<file; rm file; while :; do n=$((n+1)); echo $n > new; mv new count; read line <&5 && echo "$line" > read; sleep 0.05; done';

  it('moves a guest with a running command to another process, over TCP, whoever else calls there', async () => {
    const server = start(
      [
        'serve',
        '--incoming',
        '0',
        '--',
        'sh',
        '-c',
        'until [ -s read ]; do sleep 0.1; done; cat read; test -s count && echo goes on',
      ],
      { env },
    );
    const [, port] = await server.says(/waiting on localhost:(\d+)\n/);
    const silent = connect(Number(port), 'localhost').on('error', () => {});
    try {
      const stranger = await run(migrate('--to', `localhost:${port}`), { env: { V86_VIRTIOFS_TOKEN: makeToken() } });
      expect(stranger.stderr).to.match(/different token|hung up/);
      expect(stranger.code).to.equal(125);
      const here = await run(migrate('--to', `localhost:${port}`, '--', 'sh', '-c', begin), { env });
      expect(here.stderr).to.match(/^moved: \d+ rounds, [\d.]+ MB, the guest was paused for \d+ ms/);
      expect(here.code).to.equal(0);
      expect(await server.ended).to.deep.include({ code: 0, stdout: 'kept\ngoes on\n' });
    } finally {
      silent.destroy();
    }
  });

  it('moves one over a WebSocket, and on from there to whoever calls', async () => {
    const server = start([
      'serve',
      '--incoming',
      'ws:0',
      '--to',
      'ws:0',
      '--',
      'sh',
      '-c',
      'until [ -s read ]; do sleep 0.1; done; cat read',
    ]);
    const [, first] = await server.says(/waiting on (ws:\S+)\n/);
    const here = await run(migrate('--to', first!, '--', 'sh', '-c', begin));
    expect(here.stderr).to.match(/^moved: /);
    const [, second] = await server.says(/waiting on[\s\S]*waiting on (ws:\S+)\n/);
    const { hostname, port, hash } = new URL(second!);
    const socket = new WebSocket(`ws://${hostname}:${port}`);
    const wrong = await Vm.takeOver(makeToken())
      .serve(await webSocketChannel(socket as unknown as WebSocketLike, true))
      .catch((error: Error) => error);
    expect(wrong).to.be.instanceOf(MigrationError);
    const successor = await Vm.takeOver(hash.slice(1)).serve(
      await webSocketChannel(new WebSocket(`ws://${hostname}:${port}`) as unknown as WebSocketLike, true),
    );
    try {
      expect(await server.ended).to.deep.include({ code: 0, stdout: 'kept\n' });
      expect(
        (await successor!.vm.exec('cat /mnt/share/read; test -s /mnt/share/count && echo goes on')).stdout,
      ).to.equal('kept\ngoes on\n');
    } finally {
      await successor!.vm.stop();
    }
  });

  it('moves one over TLS, by the fingerprint that is told', async () => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
      keyType: 'ec',
      algorithm: 'sha256',
    });
    const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key);
    const server = start([
      'serve',
      '--incoming',
      'tls:0',
      '--tls-cert',
      certFile,
      '--tls-key',
      keyFile,
      '--',
      'sh',
      '-c',
      'until [ -s read ]; do sleep 0.1; done; cat read',
    ]);
    const [, address, fingerprint] = await server.says(
      /waiting on (tls:localhost:\d+#\S+)\n.*fingerprint ([\dA-F:]+)\n/,
    );
    const stranger = await run(migrate('--to', address!, '--tls-fingerprint', '00'.repeat(32)));
    expect(stranger.stderr).to.contain(`its SHA-256 fingerprint is ${fingerprint}`);
    const here = await run(migrate('--to', address!, '--tls-fingerprint', fingerprint!, '--', 'sh', '-c', begin));
    expect(here.stderr).to.match(/^moved: /);
    expect(await server.ended).to.deep.include({ code: 0, stdout: 'kept\n' });
  });

  it('moves one over stdin and stdout', async () => {
    const server = start(['serve', '--incoming', 'stdio', '-v'], { env, isPiped: true });
    const client = start(migrate('--to', 'stdio'), { env, isPiped: true });
    server.child.stdout!.pipe(client.child.stdin!);
    client.child.stdout!.pipe(server.child.stdin!);
    expect((await client.ended).stderr).to.match(/^moved: /);
    await server.says(/taken over/);
    server.child.kill('SIGTERM');
    expect((await server.ended).code).to.equal(0);
  });

  describe('with a command that is not there', () => {
    const missing = { code: 127, stderr: /missing-program/ };

    it('migrate moves nothing', async () => {
      const { code, stderr } = await run(migrate('--to', 'ws:0', '--', 'missing-program'));
      expect(stderr).to.match(missing.stderr).and.not.to.match(/moved/);
      expect(code).to.equal(missing.code);
    });

    it('serve keeps the guest, which is nowhere else', async () => {
      const server = start(['serve', '--store', directory, '--incoming', '0', '--', 'missing-program'], { env });
      const [, port] = await server.says(/waiting on localhost:(\d+)\n/);
      expect((await run(migrate('--to', `localhost:${port}`), { env })).code).to.equal(0);
      const { code, stderr } = await server.ended;
      expect(stderr).to.match(missing.stderr);
      expect(code).to.equal(missing.code);
      const [, kept] = /the guest is kept as (\w+)/.exec(stderr)!;
      expect(await run(['restore', '--store', directory, kept!, '--', 'cat', 'file'])).to.deep.include({
        code: 0,
        stdout: 'kept\n',
      });
    });
  });

  it('serve moves a guest on, whatever its command has come to', async () => {
    const last = start(['serve', '--incoming', '0', '--', 'cat', 'file'], { env });
    const [, end] = await last.says(/waiting on localhost:(\d+)\n/);
    const first = start(['serve', '--incoming', '0', '--to', `localhost:${end}`, '--', 'sh', '-c', 'exit 3'], { env });
    const [, port] = await first.says(/waiting on localhost:(\d+)\n/);
    expect((await run(migrate('--to', `localhost:${port}`), { env })).code).to.equal(0);
    const { code, stderr } = await first.ended;
    expect(stderr).to.match(/moved: /);
    expect(code).to.equal(3);
    expect(await last.ended).to.deep.include({ code: 0, stdout: 'kept\n' });
  });

  describe('when the link breaks in the switch', () => {
    /** Moves a guest that runs `task` over a link that breaks instead of passing a message on. */
    const through = async (type: number, task: string, ...serve: string[]) => {
      const server = start(['serve', '--incoming', '0', ...serve], { env });
      const [, port] = await server.says(/waiting on localhost:(\d+)\n/);
      const proxy = await breakingProxy(Number(port), type);
      const { port: to } = proxy.address() as AddressInfo;
      const here = await run(migrate('--to', `localhost:${to}`, '--', 'sh', '-c', task), { env });
      proxy.close();
      return { server, here };
    };

    it('the guest goes on here, when it was not told to go on there', async () => {
      // Nothing tells the command that the link broke, so it waits for longer than moving can take.
      const { server, here } = await through(SWITCH, 'echo begun; sleep 40; echo ended');
      expect(here.stderr).to.match(/not moved: .*the command keeps running here/);
      expect(here).to.deep.include({ code: 125, stdout: 'begun\nended\n' });
      await server.says(/not taken over/);
      server.child.kill();
      await server.ended;
    });

    it('it goes on there, and a command that ends at once waits for the question', async () => {
      const { server, here } = await through(RUNNING, 'echo begun; sleep 1000', '--', 'true');
      expect(here.stderr).to.match(/^moved: .*runs there/);
      expect(here).to.deep.include({ code: 0, stdout: 'begun\n' });
      expect((await server.ended).code).to.equal(0);
    });

    it('it goes on there, when only the answer was lost', async () => {
      const { server, here } = await through(
        RUNNING,
        'echo begun; until [ -e asked ]; do sleep 0.1; done; echo answered > answer',
        '--',
        'sh',
        '-c',
        'touch asked; until [ -s answer ]; do sleep 0.1; done; cat answer',
      );
      expect(here.stderr).to.match(/^moved: .*runs there/);
      expect(here).to.deep.include({ code: 0, stdout: 'begun\n' });
      expect(await server.ended).to.deep.include({ code: 0, stdout: 'answered\n' });
    });
  });

  describe('when the link breaks in the switch, and nobody answers any more', () => {
    const task = 'n=0; while :; do n=$((n+1)); echo $n > new; mv new count; sleep 0.05; done';
    const counts = [
      'sh',
      '-c',
      'test -s count && before=$(cat count) && until [ $(cat count) != $before ]; do sleep 0.1; done; echo goes on',
    ];
    const settle = (...args: string[]) => run(['settle', '--store', directory, ...args], { env });

    /** Moves a guest over a link that breaks instead of passing a message on. Returns what it was kept as. */
    async function lose(type: number) {
      const server = start(['serve', '--store', directory, '--incoming', '0'], { env });
      const [, port] = await server.says(/waiting on localhost:(\d+)\n/);
      const proxy = await breakingProxy(Number(port), type, true);
      const here = await run(
        migrate('--to', `localhost:${(proxy.address() as AddressInfo).port}`, '--', 'sh', '-c', task),
        { env },
      );
      expect(here.code, here.stderr).to.equal(120);
      const [, kept] = /It is kept as (\w+)\..*settle/.exec(here.stderr)!;
      return { server, port: port!, kept: kept! };
    }

    it('it is kept, goes on nowhere else, and can be settled: it runs there, also when that process was killed', async () => {
      const { server, port, kept } = await lose(RUNNING);
      await server.says(/taken over/);
      for (const args of [
        ['restore', kept, '--', 'true'],
        ['fork', kept, '--', 'true'],
        ['migrate', kept, '--to', `localhost:${port}`],
      ]) {
        const refused = await run([args[0]!, '--store', directory, ...args.slice(1)], { env });
        expect(refused.stderr).to.match(/may run on another side.*settle/);
        expect(refused.code).to.equal(120);
      }
      expect((await settle(kept)).stderr).to.match(/give the address of the other side/);
      const there = await settle(kept, '--to', `localhost:${port}`);
      expect([there.code, there.stderr]).to.deep.equal([
        0,
        `it was started there: this copy is not needed any more, and v86-virtiofs remove ${kept} removes it\n`,
      ]);
      process.kill(-server.child.pid!, 'SIGKILL');
      await server.ended;
      const next = start(['serve', '--store', directory, '--incoming', '0'], { env });
      const [, again] = await next.says(/waiting on localhost:(\d+)\n/);
      expect((await settle(kept, '--to', `localhost:${again}`)).stderr).to.match(/it was started there/);
      const other = mkdtempSync(join(tmpdir(), 'cli-'));
      try {
        const stranger = start(['serve', '--store', other, '--incoming', '0'], { env });
        const [, elsewhere] = await stranger.says(/waiting on localhost:(\d+)\n/);
        const unknown = await settle(kept, '--json', '--to', `localhost:${elsewhere}`);
        expect(JSON.parse(unknown.stdout)).to.include({ runs: 'unknown' });
        expect(unknown.stderr).to.match(/does not know of this migration/);
        expect(unknown.code).to.equal(120);
        stranger.child.kill();
        await stranger.ended;
      } finally {
        rmSync(other, { recursive: true });
      }
      next.child.kill();
      await next.ended;
      // Its owner knows that the process that it had moved to was killed.
      const here = await settle(kept, '--json', '--runs-here');
      expect(here.code).to.equal(0);
      expect(JSON.parse(here.stdout)).to.include({ name: '', runs: 'here' });
      expect(await run(['restore', '--store', directory, kept, '--', ...counts])).to.deep.include({
        code: 0,
        stdout: 'goes on\n',
      });
    });

    it('it goes on here, when it was not told to go on there, and never does there', async () => {
      const { server, port, kept } = await lose(SWITCH);
      await server.says(/not taken over/);
      const here = await settle(kept, '--to', `localhost:${port}`);
      expect(here.stderr).to.match(/does not run there, and never will.*restore/);
      expect(here.code).to.equal(0);
      expect(await run(['restore', '--store', directory, kept, '--', ...counts])).to.deep.include({
        code: 0,
        stdout: 'goes on\n',
      });
      expect((await settle(kept, '--to', `localhost:${port}`)).stderr).to.match(/nothing to settle/);
      server.child.kill();
      await server.ended;
    });
  });

  for (const [what, args, says] of [
    ['nobody answers', ['--to', 'localhost:1'], /nobody answers at localhost:1.*serve/],
    ['there is no address', ['--to', 'somewhere'], /not an address: give HOST:PORT/],
    ['there is no token', ['--to', 'ws://localhost:1', '--token', ''], /give the token that `serve` has/],
    [
      'the token was thought of',
      ['--to', 'localhost:1', '--token', 'secret'],
      /this is not a migration token.*v86-virtiofs token/,
    ],
    ['there is no certificate', ['--to', 'wss:0'], /wss: needs a certificate and its key/],
    ['the fingerprint is none', ['--to', 'tls:localhost:1', '--tls-fingerprint', '12:34'], /not a SHA-256 fingerprint/],
    ['the policy is none', ['--to', 'x:1', '--policy', 'pray'], /throttle, give-up, stop/],
  ] as const) {
    it(`says when ${what}`, async () => {
      const { code, stderr } = await run(migrate(...args), { env });
      expect(stderr).to.match(says);
      expect(code).to.equal(125);
    });
  }
});
