import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Command, Option } from 'commander';
import { makeToken } from '../../device/index.ts';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { makeProgram } from '../../harness/node/cli/program.ts';
import { useCli } from '../support/cli.ts';
import { EXECUTION, machineOptions, SHOWN, showMachine } from '../support/cli-options.ts';

interface Row {
  args: string[];
  input?: string;
  env?: NodeJS.ProcessEnv;
  code?: number;
  stdout?: RegExp;
  stderr?: RegExp;
  /** What the options have done. */
  check?: () => void;
}

/** Options whose effect other tests show: by command, and then the file. */
const ELSEWHERE: Record<string, Record<string, string[]>> = {
  suspend: {
    'full/cli-sleep.test.ts': ['no-cache', 'name', 'store'],
    'support/cli-options.ts': [
      'share',
      'tag',
      'size',
      'write-back',
      'owners',
      'save',
      'memory',
      'cmdline',
      'no-xattr',
      'verbose',
      'env',
      'workdir',
      'user',
      'timeout',
      'image-patience',
    ],
  },
  wake: { 'full/cli-sleep.test.ts': ['name'] },
  ...Object.fromEntries(
    ['fork', 'export', 'import', 'remove'].map((command) => [command, { 'guest/tools/cli-json.test.ts': ['json'] }]),
  ),
  serve: { 'full/cli-migrate.test.ts': ['tls-cert', 'tls-key', 'to'] },
  migrate: { 'full/cli-migrate.test.ts': ['tls-fingerprint'] },
};

const nameOf = ({ long }: Option) => long!.slice(2);
const visible = (command: Command) => command.options.filter(({ hidden }) => !hidden);

describe('command line: every option of every command', function () {
  this.timeout(300_000);
  const { run, start } = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'cli-matrix-'));
  const at = (name: string) => join(directory, name);
  const share = at('share');
  const store = ['--store', at('store')];
  const token = makeToken();
  after(() => rmSync(directory, { recursive: true }));

  const machine = (name: string) => machineOptions(share, at(`${name}.json`));
  const script = (name: string) => `echo ${name} > ../file; chmod u+s ../file; ${showMachine}`;
  const said = new RegExp(`^${SHOWN}$`, 'm');
  const kept = (name: string) => () => {
    expect(readFileSync(join(share, 'file'), 'utf8'), 'written back').to.equal(`${name}\n`);
    expect(statSync(join(share, 'file')).mode & 0o4000, '--owners').to.equal(0o4000);
    expect(JSON.parse(readFileSync(at(`${name}.json`), 'utf8')), 'saved').to.have.property('/file', `${name}\n`);
  };
  const door = ['--host', 'localhost', '--origin', '*', '--tls-cert', 'none.pem', '--tls-key', 'none.pem'];
  const resumed = [...store, ...EXECUTION, '--keep-clock', '--image-patience', '30', '--no-reseed'];
  const thawed = (name: string) => [...resumed, '--write-back', share, '--owners', '--save', at(`${name}.json`)];
  const again = (name: string) => `echo ${name} > ../file; echo $A $(pwd) $(id -u) $(date +%s)`;
  const saidAgain = /^b \/mnt\/mine\/sub 0 \d+$/m;

  const rows = (): Row[] => [
    {
      args: ['run', ...machine('run'), '--', 'sh', '-c', script('run')],
      stdout: said,
      stderr: /./,
      check: kept('run'),
    },
    { args: ['run', '--no-cache', '--', 'true'], stderr: /^booting the guest\n$/ },
    { args: ['run', '--tap', '--', 'echo', 'ok 1 a'], stdout: /^ok 1 - a$/m },
    { args: ['run', '--json', '--', 'echo', 'not ok 1 a'], code: 1, stdout: /"failures": ?1/ },
    {
      args: ['run', '--junit', at('results.xml'), '--', 'echo', 'ok 1 a'],
      stdout: /^ok 1 a$/m,
      check: () =>
        expect(readFileSync(at('results.xml'), 'utf8')).to.include('<testcase classname="echo ok 1 a" name="a"/>'),
    },
    { args: ['doctor', ...store, '--json'], stdout: /"fit": true/ },
    { args: ['run', '--record', at('requests'), '--', 'mkdir', 'recorded'] },
    {
      args: ['replay', '--json', '--live', '--share', at('replayed'), at('requests')],
      stdout: /"differences": \[\]/,
      check: () => expect(statSync(join(at('replayed'), 'recorded')).isDirectory()).to.equal(true),
    },
    { args: ['shell', ...machine('shell')], input: script('shell'), stdout: said, stderr: /./, check: kept('shell') },
    {
      args: ['freeze', ...store, '--name', 'base', ...machine('freeze'), '--', 'sh', '-c', script('freeze')],
      stdout: said,
      stderr: /frozen as base/,
      check: kept('freeze'),
    },
    {
      args: ['restore', ...thawed('restore'), '--name', 'next', 'base', '--', 'sh', '-c', again('restore')],
      stdout: saidAgain,
      stderr: /frozen as next/,
      check: kept('restore'),
    },
    {
      args: ['wake', ...thawed('wake'), 'next', '--', 'sh', '-c', again('wake')],
      stdout: saidAgain,
      check: kept('wake'),
    },
    {
      args: [
        'fork',
        ...resumed,
        '--copies',
        '3',
        '--workers',
        '1',
        'base',
        '--',
        'sh',
        '-c',
        `${again('fork')}; echo copy $FORK`,
      ],
      stdout: /3 \| copy 3/,
    },
    {
      args: ['run', '--share', share, '--live', '--owners', '--', 'sh', '-c', 'echo live > file; chmod u+s file; ls'],
      stdout: /^file\n(other\n)?sub$/m,
      check: () => {
        expect(readFileSync(join(share, 'file'), 'utf8'), 'at once').to.equal('live\n');
        expect(statSync(join(share, 'file')).mode & 0o4000, '--owners').to.equal(0o4000);
      },
    },
    {
      args: ['freeze', ...store, '--name', 'live', '--share', share, '--live', '--', 'sh', '-c', 'echo frozen > file'],
      stderr: /frozen as live/,
    },
    ...['restore', 'fork'].map((command) => ({
      args: [command, ...store, '--live', share, 'live', '--', 'cat', 'file'],
      stdout: /frozen$/m,
    })),
    { args: ['shell', ...store, 'base'], input: 'pwd', stdout: /^\/mnt\/mine$/m },
    { args: ['list', ...store, '--json'], stdout: /"name": "base"[\s\S]*"name": "next"/ },
    { args: ['inspect', ...store, '--json', '--files', 'base'], stdout: /"\/file": \{/ },
    { args: ['diff', ...store, '--json', 'base', 'next'], stdout: /"pages": \d+/ },
    {
      args: ['verify', ...store, '--json'],
      stdout: /"sound": \[\s+("[\da-f]{32}",?\s+){3}\],\s+"problems": \[\]/,
    },
    {
      args: ['export', ...store, 'base', at('base.layer')],
      check: () => expect(existsSync(at('base.layer'))).to.equal(true),
    },
    { args: ['import', '--store', at('other'), at('base.layer')], stderr: /base.layer is base now/ },
    { args: ['rename', '--json', '--store', at('other'), 'base', 'moved'], stdout: /"name": "moved"/ },
    { args: ['list', '--store', at('other')], stdout: / moved / },
    { args: ['remove', '--store', at('other'), 'moved'] },
    { args: ['gc', '--store', at('other'), '--json'], stdout: /"freedBytes": \d+/ },
  ];

  /** Options that can't be honoured there: each with its reason, before anything has run. */
  const refused = (): Row[] => {
    const other = ['--kernel', 'none.bin', '--initrd', 'none.img', '--modules', 'none', '--bios', 'none.bin'];
    const rest = ['--', 'echo', 'ran'];
    const stays = { code: 125, stdout: /^$/ };
    return [
      ...['run', 'freeze'].map((command) => ({
        ...stays,
        args: [command, ...other, '--no-cache', '--boot', 'direct', ...rest],
        stderr: /takes no BIOS/,
      })),
      { ...stays, args: ['shell', ...other, '--no-cache', '--boot', 'direct'], stderr: /takes no BIOS/ },
      { ...stays, args: ['suspend', ...other, '--boot', 'direct'], stderr: /takes no BIOS/ },
      ...['run', 'freeze'].map((command) => ({
        ...stays,
        args: [command, '--driver', 'fast', '--kernel', 'none.bin', '--initrd', 'none.img', ...rest],
        stderr: /fast driver goes into the image/,
      })),
      {
        ...stays,
        args: ['shell', '--driver', 'fast', '--kernel', 'none.bin', '--initrd', 'none.img'],
        stderr: /fast driver goes into the image/,
      },
      { ...stays, args: ['suspend', '--driver', 'stock'], stderr: /can't suspend/ },
      ...(
        [
          [['--stop'], /no daemon listens/],
          [[...other, '--boot', 'direct'], /can't read the guest image's file .*none.bin/],
          [['--driver', 'fast', '--kernel', 'none.bin', '--initrd', 'none.img'], /fast driver goes into the image/],
          [
            '--count 1 --idle 1 --live --owners --tag mine --no-xattr --memory 128 --cmdline word=1 --share'
              .split(' ')
              .concat(at('none')),
            /can't share .*none live/,
          ],
          [['--share', share, '--live', '--size', '64M'], /has its own limits/],
        ] as const
      ).map(([args, stderr], n) => ({
        ...stays,
        args: ['daemon', ...args],
        env: { V86_VIRTIOFS_DAEMON: at(`daemon-${n}`) },
        stderr,
      })),
      ...['restore', 'fork', 'wake'].map((command) => ({
        ...stays,
        args: [command, ...store, ...other, 'base', ...rest],
        stderr: /can't read the guest image's file none.bin/,
      })),
      {
        ...stays,
        args: ['serve', '--incoming', '0', ...other, ...rest],
        stderr: /can't read the guest image's file none.bin/,
      },
      {
        ...stays,
        args: ['migrate', ...store, 'base', '--to', 'ws:0', ...other, ...rest],
        stderr: /can't read the guest image's file none.bin/,
      },
      { ...stays, args: ['shell', '--write-back', ...store, 'base'], stderr: /leave out --write-back/ },
      { ...stays, args: ['shell', '--live', ...store, 'live'], stderr: /leave out --live/ },
      {
        ...stays,
        args: ['shell', ...store, 'live'],
        stderr: /is a live directory of the host it was frozen on: name it/,
      },
      ...[
        ['run', '--save', at('none.json')],
        ['freeze', '--write-back'],
        ['suspend', '--size', '64M'],
      ].map(([command, option, ...value]) => ({
        ...stays,
        args: [command!, '--share', share, '--live', option!, ...value, ...rest],
        stderr: new RegExp(`nothing for ${option} to do`),
      })),
      ...['run', 'freeze'].flatMap((command) => [
        { ...stays, args: [command, '--root', at('none'), ...rest], stderr: /none does not exist/ },
        { ...stays, args: [command, '--init', '/bin/true', ...rest], stderr: /give --root too/ },
      ]),
      ...['shell', 'suspend'].flatMap((command) => [
        { ...stays, args: [command, '--root', at('none')], stderr: /none does not exist/ },
        { ...stays, args: [command, '--init', '/bin/true'], stderr: /give --root too/ },
      ]),
      ...['restore', 'fork', 'wake'].map((command) => ({
        ...stays,
        args: [command, ...store, '--image', at('none'), 'base', ...rest],
        stderr: /can't read .*none/,
      })),
      { ...stays, args: ['serve', '--incoming', '0', '--image', at('none')], stderr: /can't read .*none/ },
      ...[
        ['inspect', 'base'],
        ['diff', 'base', 'base'],
        ['export', '--whole', 'base', at('whole.layer')],
      ].map(([command, ...words]) => ({
        ...stays,
        args: [command!, ...store, '--image', at('none'), ...words],
        stderr: /can't read .*none/,
      })),
      {
        ...stays,
        args: ['export', ...store, '--image', at('none'), 'base', at('x')],
        stderr: /with --whole: give that too/,
      },
      {
        ...stays,
        args: ['migrate', ...store, '--image', at('none'), 'base', '--to', 'ws:0'],
        stderr: /can't read .*none/,
      },
      { ...stays, args: ['shell', '--live'], stderr: /give --share DIR too/ },
      { ...stays, args: ['run', '--live', '--share', at('none.tar'), ...rest], stderr: /can't be shared live/ },
      { ...stays, args: ['run', '--live', '--share', at('none'), ...rest], stderr: /is not a directory/ },
      { ...stays, args: ['restore', ...store, 'live', ...rest], stderr: /name it with --live DIR/ },
      { ...stays, args: ['fork', ...store, '--live', at('.'), 'live', ...rest], stderr: /name that very directory/ },
      { ...stays, args: ['wake', ...store, '--live', share, 'base', ...rest], stderr: /no share of this guest is/ },
      {
        ...stays,
        args: ['migrate', ...store, 'live', '--to', 'ws:0', '--live', at('.')],
        stderr: /name that very directory/,
      },
      { ...stays, args: ['serve', '--incoming', '0', '--live', at('none')], stderr: /is not a directory/ },
      { ...stays, args: ['shell', ...store], stderr: /name that too/ },
      ...(
        [
          [['--to', 'nowhere', '--token', token], /nowhere is not an address/],
          [['--to', 'localhost:1'], /give the token that `serve` has/],
          [['--to', `tls:localhost:1#${token}`, '--tls-ca', 'none.pem'], /can't read none.pem/],
          [['--to', 'wss:0'], /wss: needs a certificate/],
          [['--to', 'ws:70000'], /70000 is not a TCP port/],
        ] as const
      ).map(([args, stderr]) => ({ ...stays, args: ['serve', '--incoming', '0', ...args], stderr })),
      ...['--tls-ca', '--tls-fingerprint'].map((option) => ({
        ...stays,
        args: ['serve', '--incoming', '0', '--to', 'tls:localhost:1', '--token', 'x', option, 'none'],
        stderr: /token/,
      })),
      {
        ...stays,
        args: ['migrate', ...store, 'base', '--to', 'tls:localhost:1', '--token', token, '--tls-ca', 'none.pem'],
        stderr: /can't read none.pem/,
      },
      {
        ...stays,
        args: [
          'settle',
          ...store,
          'base',
          '--token',
          token,
          '--tls-ca',
          'none.pem',
          '--tls-fingerprint',
          'none',
          '--to',
          'tls:localhost:1',
        ],
        stderr: /nothing to settle/,
      },
      ...['--runs-here', '--runs-there'].map((option) => ({
        ...stays,
        args: ['settle', '--json', ...store, 'base', option],
        stderr: /nothing to settle/,
      })),
      {
        ...stays,
        args: ['migrate', ...store, 'base', '--to', 'wss:0', ...door],
        stderr: /can't read none.pem/,
      },
      {
        ...stays,
        args: ['serve', '--incoming', 'wss:0', ...door],
        stderr: /can't read none.pem/,
      },
      {
        ...stays,
        args: ['serve', '--incoming', '0', '--policy', 'none', '--bandwidth', '1'],
        stderr: /throttle, give-up, stop/,
      },
    ];
  };

  before(async () => {
    await ensureGuestImage();
    mkdirSync(join(share, 'sub'), { recursive: true });
    mkdirSync(at('replayed'));
    writeFileSync(join(share, 'file'), '');
    chmodSync(join(share, 'file'), 0o755);
    writeFileSync(join(share, 'sub/other'), '');
  });

  const kernel = process.env['V86_VIRTIOFS_KERNEL'] ?? 'stock';
  const movers = {
    serve: [
      'serve',
      '--incoming',
      '0',
      '--host',
      'localhost',
      '--token',
      token,
      ...thawed('serve'),
      '--kernel',
      kernel,
      '--verbose',
    ],
    migrate: [
      'migrate',
      ...store,
      'moving',
      '--token',
      token,
      '--keep-clock',
      '--image-patience',
      '30',
      '--no-reseed',
      '--kernel',
      kernel,
      '--bandwidth',
      '1000',
      '--policy',
      'stop',
      '--verbose',
      '--to',
    ],
  };

  it('has a row: an option that is new needs one too', () => {
    const covered = new Set<string>();
    const program = makeProgram();
    for (const args of [...[...rows(), ...refused()].map((row) => row.args), movers.serve, movers.migrate]) {
      const command = program.commands.find((each) => each.name() === args[0])!;
      const words = args.slice(0, args.includes('--') ? args.indexOf('--') : undefined);
      for (const option of command.options)
        if (words.includes(option.long!)) covered.add(`${args[0]} --${nameOf(option)}`);
    }
    for (const [command, files] of Object.entries(ELSEWHERE)) {
      for (const [file, names] of Object.entries(files)) {
        const text = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
        for (const name of names) {
          expect(text, `${file} has --${name}`).to.contain(`'--${name}'`);
          covered.add(`${command} --${name}`);
        }
      }
    }
    const all = program.commands.flatMap((command) =>
      visible(command).map((option) => `${command.name()} --${nameOf(option)}`),
    );
    expect(all.filter((pair) => !covered.has(pair))).to.deep.equal([]);
  });

  const attempt = async ({ args, input, env, code = 0, stdout, stderr, check }: Row) => {
    const result = await run(args, { input, env });
    const told = `${args.join(' ')}\n${result.stdout}${result.stderr}`;
    expect(result.code, told).to.equal(code);
    if (stdout) expect(result.stdout, told).to.match(stdout);
    if (stderr) expect(result.stderr, told).to.match(stderr);
    check?.();
  };
  const titleOf = ({ args }: Row) => args.join(' ').replaceAll(`${directory}/`, '').replaceAll(token, 'TOKEN');

  for (const row of rows()) it(`works: ${titleOf(row)}`, () => attempt(row));
  for (const row of refused()) it(`is refused before anything runs: ${titleOf(row)}`, () => attempt(row));

  it('works on both sides of a migration', async () => {
    expect((await run(['freeze', ...store, '--name', 'moving', '--share', share, '--tag', 'mine'])).code).to.equal(0);
    const server = start([...movers.serve, '--', 'sh', '-c', again('serve')]);
    const [, port] = await server.says(/waiting on localhost:(\d+)/);
    const moved = await run([...movers.migrate, `localhost:${port}`]);
    expect(moved.stderr).to.match(/round 1: [\s\S]*moved: /);
    const { code, stdout, stderr } = await server.ended;
    expect({ code, stdout: saidAgain.test(stdout) }, stderr).to.deep.equal({ code: 0, stdout: true });
    kept('serve')();
  });

  it('moves a guest with a live share to where its directory is, and nowhere else', async () => {
    const arrives = async (...live: string[]) => {
      const server = start([
        'serve',
        '--incoming',
        '0',
        '--token',
        token,
        ...live,
        '--',
        'sh',
        '-c',
        'echo moved > file',
      ]);
      const [, port] = await server.says(/waiting on localhost:(\d+)/);
      const moved = await run([
        'migrate',
        ...store,
        'live',
        '--live',
        share,
        '--token',
        token,
        '--to',
        `localhost:${port}`,
      ]);
      if (moved.code !== 0) server.child.kill();
      return { moved, server: await server.ended };
    };
    const refused = await arrives();
    expect(refused.moved.code).to.equal(125);
    expect(refused.moved.stderr + refused.server.stderr).to.match(/is a live directory of the host it was frozen on/);
    const { moved, server } = await arrives('--live', share);
    expect([moved.code, server.code], moved.stderr + server.stderr).to.deep.equal([0, 0]);
    expect(readFileSync(join(share, 'file'), 'utf8')).to.equal('moved\n');
  });
});
