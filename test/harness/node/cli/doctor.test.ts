import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { findGuestImage } from '../../../../guest-images/build.ts';
import { cacheDirectory } from '../../../../guest-images/paths.ts';
import { examine, type Finding } from '../../../../harness/node/doctor.ts';
import { useCli } from '../../../support/cli.ts';

/** A module that Node loads before the command line. */
const loading = (script: string) => ({ NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(script)}"` });
const resolving = (how: string) =>
  loading(
    `import { register } from 'node:module'; register('data:text/javascript,' + encodeURIComponent(\`export const resolve = (name, context, next) => ${how}\`));`,
  );

describe('command line: doctor', function () {
  this.timeout(60_000);
  const { run } = useCli();
  const place = mkdtempSync(join(tmpdir(), 'doctor-'));
  const at = (name: string) => join(place, name);
  const bare = at('bin');
  after(() => rmSync(place, { recursive: true, force: true }));

  /** In this process, whose environment is another one meanwhile. */
  const examineIn = async (env: NodeJS.ProcessEnv, store = at('store')) => {
    const own = { ...process.env };
    Object.assign(process.env, env);
    try {
      return new Map((await examine({ store })).map((finding) => [finding.name, finding]));
    } finally {
      for (const name of Object.keys(env)) delete process.env[name];
      Object.assign(process.env, own);
    }
  };
  const told = async (env: NodeJS.ProcessEnv, ...args: string[]) => {
    const { code, stdout, stderr } = await run(['doctor', '--json', '--store', at('store'), ...args], { env });
    expect(stderr).to.equal('');
    const { fit, findings } = JSON.parse(stdout) as { fit: boolean; findings: Finding[] };
    return { code, fit, of: new Map(findings.map((finding) => [finding.name, finding])) };
  };
  before(async () => {
    mkdirSync(bare);
    writeFileSync(at('file'), '');
    // What these tests start the command line with.
    writeFileSync(join(bare, 'timeout'), '#!/bin/sh\nexec /usr/bin/timeout "$@"\n');
    chmodSync(join(bare, 'timeout'), 0o755);
    // What tests are run with.
    expect(await findGuestImage()).not.to.equal(undefined);
  });

  /** What is taken away, what is said of it, and what mends it, where that is in the environment too. */
  const rows: [string, NodeJS.ProcessEnv, string, Partial<Record<keyof Finding, RegExp>>, NodeJS.ProcessEnv?][] = [
    ['all there', {}, 'guest image', { state: /ok/, found: /^Linux 6\.1\./ }],
    [
      'no programs, an image',
      { PATH: bare },
      'kernel builds',
      { state: /note/, found: /no gcc, no make/, cure: /apt-get install gcc/ },
    ],
    ['no programs, no xz', { PATH: bare }, 'xz', { state: /note/, cure: /xz-utils/ }],
    [
      'no programs, no image',
      { PATH: bare, V86_VIRTIOFS_CACHE: at('empty') },
      'guest image',
      { state: /lack/, found: /without apt-get, apt-cache, dpkg/, cure: /V86_VIRTIOFS_GUEST/ },
      { V86_VIRTIOFS_GUEST: cacheDirectory() },
    ],
    [
      'programs, no image',
      { V86_VIRTIOFS_CACHE: at('empty') },
      'guest image',
      { state: /ok/, found: /built when it is first needed/ },
    ],
    [
      'an image elsewhere that is not there',
      { V86_VIRTIOFS_CACHE: at('empty'), V86_VIRTIOFS_GUEST: at('none.tar.gz') },
      'guest image',
      { state: /lack/, found: /none\.tar\.gz, .*does not exist/ },
      { V86_VIRTIOFS_GUEST: 'https://example.com/guest.tar.gz#sha256=0' },
    ],
    [
      'a cache that can’t be written',
      { V86_VIRTIOFS_CACHE: at('file/cache'), TMPDIR: place },
      'cache',
      {
        state: /note/,
        found: /can't be written \(ENOTDIR\), so .*v86-virtiofs-\d+ is used/,
        cure: /set V86_VIRTIOFS_CACHE/,
      },
      { V86_VIRTIOFS_CACHE: at('empty') },
    ],
    [
      'nor a temporary one',
      { V86_VIRTIOFS_CACHE: at('file/cache'), TMPDIR: at('file') },
      'cache',
      { state: /lack/, cure: /set V86_VIRTIOFS_CACHE/ },
    ],
    [
      'no temporary files',
      { TMPDIR: at('file') },
      'temporary files',
      { state: /lack/, found: /is not a directory/, cure: /TMPDIR/ },
      { TMPDIR: place },
    ],
  ];
  for (const [name, env, about, says, cure] of rows)
    it(`${name}: ${about} is told, with a cure`, async () => {
      const findings = await examineIn(env);
      for (const [field, pattern] of Object.entries(says))
        expect(findings.get(about)![field as keyof Finding], about).to.match(pattern);
      for (const { name: other, state, cure: text } of findings.values())
        if (state !== 'ok') expect(text, other).to.match(/./);
      if (cure) expect((await examineIn({ ...env, ...cure })).get(about)!.state).to.equal('ok');
    });

  it('little memory', async () => {
    const { availableMemory } = process;
    process.availableMemory = () => 100 << 20;
    const found = (await examineIn({})).get('memory');
    process.availableMemory = availableMemory;
    expect(found).to.include({ state: 'note' });
    expect(found!.found).to.match(/^100\.0 MiB available/);
  });

  it('a store that can’t be written, and where there is one', async () => {
    expect((await examineIn({}, at('file'))).get('snapshots')).to.include({
      state: 'lack',
      found: `${at('file')} is not a directory`,
    });
    expect((await examineIn({}, at('file/store'))).get('snapshots')!.state).to.equal('lack');
    expect((await examineIn({}, at('new/store'))).get('snapshots')!.state).to.equal('ok');
  });

  const nodes: [string, string][] = [
    ['20.18.3', 'lack'],
    ['18.20.0', 'lack'],
    ['20.19.0', 'ok'],
    ['31.0.0', 'ok'],
  ];
  for (const [node, state] of nodes)
    it(`Node ${node}: ${state}`, async () => {
      const own = Object.getOwnPropertyDescriptor(process, 'versions')!;
      Object.defineProperty(process, 'versions', { value: { ...process.versions, node }, configurable: true });
      const found = (await examineIn({})).get('Node')!;
      Object.defineProperty(process, 'versions', own);
      expect(found.state).to.equal(state);
    });

  it('no v86: it runs all the same, and says so with its exit code @long', async () => {
    // As Node says it of a package that is not there.
    const missing = `Object.assign(new Error("Cannot find package 'v86'"), { code: 'ERR_MODULE_NOT_FOUND' })`;
    const env = resolving(`name === 'v86' ? Promise.reject(${missing}) : next(name, context)`);
    const { code, fit, of } = await told(env);
    expect([code, fit]).to.deep.equal([125, false]);
    expect(of.get('v86')).to.include({ state: 'lack', found: 'it is not installed' });
    expect(of.get('v86')!.cure).to.match(/^npm install v86@0\.5/);
    for (const args of [['run', '--', 'true'], ['--version'], ['list', '--json'], ['--help']])
      expect(await run(args, { env })).to.deep.equal({
        code: 125,
        stdout: '',
        stderr:
          'v86-virtiofs: v86 is not installed: run `npm install v86@0.5.462`, and `v86-virtiofs doctor` for what else is missing\n',
      });
  });

  it('a v86 that is newer than those that are tested: a note', async () => {
    mkdirSync(at('v86/build'), { recursive: true });
    writeFileSync(at('v86/build/v86.mjs'), 'export class V86 {}');
    writeFileSync(at('v86/package.json'), '{"version": "0.6.0"}');
    const url = `file://${at('v86/build/v86.mjs')}`;
    const { code, fit, of } = await told(
      resolving(`name === 'v86' ? { url: '${url}', shortCircuit: true } : next(name, context)`),
    );
    expect([code, fit]).to.deep.equal([0, true]);
    expect(of.get('v86')).to.include({ state: 'note' });
    expect(of.get('v86')!.found).to.match(/^0\.6\.0; 0\.5\.373 to 0\.5\.462 are tested/);
  });

  it('a daemon that listens, none, and a directory that others can write to', async () => {
    const directory = at('run');
    mkdirSync(directory, { mode: 0o700 });
    const env = { V86_VIRTIOFS_DAEMON: join(directory, 'daemon.sock') };
    expect((await told(env)).of.get('daemon')!.found).to.match(/^no daemon listens/);
    const server = createServer((socket) => socket.end()).listen(env.V86_VIRTIOFS_DAEMON);
    expect((await told(env)).of.get('daemon')!.found).to.match(/^it listens at/);
    chmodSync(directory, 0o777);
    expect((await told(env)).of.get('daemon')).to.include({ state: 'note' });
    await new Promise((closed) => server.close(closed));
    expect((await told({})).of.get('daemon')!.found).to.match(/V86_VIRTIOFS_DAEMON is off/);
  });

  it('tells people the same, without colors, and without steering their terminals', async () => {
    const { code, stdout } = await run(['doctor', '--store', at('a\x1b[2J')], { env: { PATH: bare } });
    expect(code).to.equal(0);
    expect(stdout)
      .to.match(/^ok {4}Node: /m)
      .and.to.match(/^note {2}xz: .*\n {6}→ as root: apt-get install xz-utils$/m);
    expect(stdout).not.to.include('\x1b');
  });
});
