import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { parseSync } from 'oxc-parser';
import { type Browser, chromium, type Page } from 'playwright-core';
import sirv from 'sirv';
import { LAST_TESTED } from '../../device/v86/versions.ts';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { NODE_EXAMPLES, RUNNER_EXAMPLES, TEST_EXAMPLES, visitOwnPage } from '../support/examples.ts';

const ROOT = join(import.meta.dirname, '../..');
const EXAMPLES = join(ROOT, 'examples');
/** What users of the package bring themselves. */
const TOOLS = ['typescript', 'tsx', 'webpack@5', 'webpack-cli@6', 'esbuild', '@types/node@20'];
const RUNNERS = ['vitest@4', 'jest@30', '@jest/globals@30', 'mocha', '@types/mocha', 'chai', '@types/chai'];
const STRICT = {
  compilerOptions: {
    target: 'es2022',
    lib: ['es2024', 'dom', 'dom.iterable'],
    module: 'nodenext',
    strict: true,
    noEmit: true,
    types: ['node', 'mocha'],
  },
  include: ['**/*.ts'],
};

/** What a module, or its types, imports: as it is written. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const { module } = parseSync(file, text);
  return [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? []),
    ),
    // Others than words in quotes are found out when they run, as v86's build is.
    ...module.dynamicImports.flatMap(
      ({ moduleRequest: { start, end } }) => /^(['"`])([^'"`$]*)\1$/.exec(text.slice(start, end))?.[2] ?? [],
    ),
  ];
}

describe('the package, packed and installed', function () {
  this.timeout(1_800_000);
  let directory: string;
  let project: string;
  let files: string[];
  let installed: string;
  const run = (cwd: string, program: string, ...args: string[]) => {
    // Of the example that kills a database: `testing` does it at more moments.
    const env = { ...process.env, MOMENTS: '10' };
    const { status, stdout, stderr } = spawnSync(program, args, { cwd, env, encoding: 'utf8', timeout: 1_500_000 });
    expect(status, `${program} ${args.join(' ')}\n${stdout}\n${stderr}`).to.equal(0);
    return { stdout, stderr };
  };

  const manifest = () =>
    JSON.parse(readFileSync(join(project, 'node_modules/v86-virtiofs/package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      peerDependencies: Record<string, string>;
    };

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'package-'));
    project = join(directory, 'project');
    run(ROOT, 'npm', 'pack', '--silent', '--pack-destination', directory);
    const tarball = readdirSync(directory).find((name) => name.endsWith('.tgz'))!;
    files = run(directory, 'tar', '-tzf', tarball)
      .stdout.split('\n')
      .filter(Boolean)
      .map((name) => name.replace(/^package\//, ''));
    mkdirSync(project);
    writeFileSync(
      join(project, 'package.json'),
      JSON.stringify({
        name: 'project',
        private: true,
        type: 'module',
        allowScripts: { esbuild: false, '@parcel/watcher': false },
      }),
    );
    const { stdout, stderr } = run(
      project,
      'npm',
      'install',
      '--no-audit',
      '--no-fund',
      join(directory, tarball),
      `v86@${LAST_TESTED}`,
      ...TOOLS,
      ...RUNNERS,
    );
    installed = stdout + stderr;
    for (const name of ['filesystems', 'node', 'page', 'testing'])
      cpSync(join(EXAMPLES, name), join(project, name), { recursive: true });
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(STRICT));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('has all that its exports name, no maps, and nothing of the command line twice', () => {
    const { exports, bin, man } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      exports: object;
      bin: Record<string, string>;
      man: string;
    };
    const targets = [...JSON.stringify(exports).matchAll(/"\.\/([^"*]+\.[^"*]+)"/g)].map((match) => match[1]!);
    expect(files).to.include.members([...targets, ...Object.values(bin), man.replace('./', '')]);
    expect(files.some((name) => name.startsWith('dist/page/guest/'))).to.equal(true);
    expect(files.filter((name) => name.endsWith('.map') || /^dist\/harness\/node\/cli/.test(name))).to.deep.equal([]);
  });

  it('has the licenses of whatever is in it', () => {
    expect(files).to.include.members(['LICENSE', 'NOTICE.md', 'guest-images/driver/COPYING']);
    for (const [place, name] of [
      ['web', 'memfs'],
      ['page', 'v86'],
      ['page/embed', 'lit'],
      ['cli', 'ws'],
    ] as const) {
      const text = readFileSync(join(project, 'node_modules/v86-virtiofs/dist', place, 'licenses.txt'), 'utf8');
      expect(text, place)
        .to.match(new RegExp(`^${name} [0-9][^ ]*: `, 'm'))
        .and.to.match(/Copyright/);
    }
  });

  it('passes publint and arethetypeswrong, as the release checks it', () => {
    // By the lines of the workflow itself, so that both have the same versions.
    const workflow = readFileSync(join(ROOT, '.github/workflows/release.yml'), 'utf8');
    const checks = [...workflow.matchAll(/npx (--yes (?:publint|@arethetypeswrong).*) v86-virtiofs-\*\.tgz/g)];
    expect(checks).to.have.length(2);
    const tarball = readdirSync(directory).find((name) => name.endsWith('.tgz'))!;
    for (const [, words] of checks) run(directory, 'npx', ...words!.split(' '), tarball);
  });

  it('installs without a warning, and nothing but what is needed', () => {
    expect(installed).not.to.match(/warn/i);
    expect(Object.keys(manifest().dependencies).sort()).to.deep.equal(['cborg', 'crc-32', 'memfs', 'tinypool']);
  });

  it('imports only its own files, Node’s modules, and packages that it names', () => {
    const { dependencies, peerDependencies } = manifest();
    const known = [...Object.keys(dependencies), ...Object.keys(peerDependencies)];
    const own = join(project, 'node_modules/v86-virtiofs');
    // What is bundled has what it needs.
    const modules = files.filter((name) => /^dist\/(device|guest-images|harness)\/.*\.(js|d\.ts)$/.test(name));
    expect(modules).to.have.length.above(300);
    const used = new Set<string>();
    for (const name of modules) {
      for (const wanted of importsOf(join(own, name))) {
        if (wanted.startsWith('.')) {
          const file = join(dirname(name), wanted);
          expect(files, `${name} imports ${wanted}`).to.include(
            name.endsWith('.d.ts') ? file.replace(/\.[jt]s$/, '.d.ts') : file,
          );
        } else if (!wanted.startsWith('node:')) {
          const [, packageName] = /^((?:@[^/]+\/)?[^/]+)/.exec(wanted)!;
          expect(known, `${name} imports ${wanted}`).to.include(packageName);
          used.add(packageName!);
        }
      }
    }
    expect([...used].sort()).to.deep.equal(known.sort());
  });

  it('has types with which the examples are right', () => {
    run(project, 'npx', 'tsc', '-p', '.');
  });

  for (const [name, says] of NODE_EXAMPLES) {
    it(`node/${name}.ts runs`, () => {
      expect(run(project, 'node', '--import', 'tsx', `node/${name}.ts`).stdout).to.match(says);
    });
  }

  for (const name of TEST_EXAMPLES) {
    it(`testing/${name}.test.ts runs`, () => {
      expect(run(project, 'node', '--import', 'tsx', '--test', `testing/${name}.test.ts`).stdout).to.match(/pass 1\n/);
    });
  }

  it('has a test kit for mocha, vitest and jest, as they are set up without more', () => {
    const [mocha, vitest, jest] = [RUNNER_EXAMPLES.mocha, RUNNER_EXAMPLES.vitest, RUNNER_EXAMPLES.jest];
    run(project, 'npx', 'mocha', '--node-option', 'import=tsx', `testing/${mocha}`);
    run(project, 'npx', 'vitest', 'run', `testing/${vitest}`);
    run(
      project,
      'node',
      '--experimental-vm-modules',
      ...['node_modules/jest/bin/jest.js', '--transform', '{}', `testing/${jest}`],
    );
  });

  it('has a command line', () => {
    expect(run(project, 'npx', 'v86-virtiofs', 'run', '--', 'echo', 'here').stdout).to.equal('here\n');
  });

  it('says what a store in a bucket takes, and needs it for nothing else', () => {
    const { status, stderr } = spawnSync('npx', ['v86-virtiofs', 'list', '--store', 's3://bucket'], {
      cwd: project,
      encoding: 'utf8',
    });
    expect(status).to.equal(125);
    expect(stderr).to.match(/needs the package @aws-sdk\/client-s3.*run `npm install @aws-sdk\/client-s3`/);
  });

  describe('in a page', () => {
    let server: Server;
    let browser: Browser;
    before(async () => {
      const pages = join(project, 'page');
      const { bios, vgaBios, kernel, initrd } = await ensureGuestImage();
      for (const bundler of ['webpack', 'esbuild']) {
        if (bundler === 'webpack') {
          run(pages, 'npx', 'esbuild', 'own-page.ts', 'embedded.ts', '--format=esm', '--outdir=.');
          run(pages, 'npx', 'webpack');
        } else {
          run(pages, 'node', 'esbuild.js');
        }
        const site = join(directory, bundler);
        cpSync(join(pages, 'public'), site, { recursive: true });
        for (const name of ['own-page.html', 'embedded.html']) copyFileSync(join(pages, name), join(site, name));
        for (const [name, path] of Object.entries({
          'bios.bin': bios,
          'vgabios.bin': vgaBios,
          vmlinuz: kernel,
          'initrd.img': initrd,
        }))
          copyFileSync(path, join(site, name));
        copyFileSync(join(project, 'node_modules/v86/build/v86.wasm'), join(site, 'v86.wasm'));
        cpSync(join(project, 'node_modules/v86-virtiofs/dist/page/guest'), join(site, 'guest'), { recursive: true });
        rmSync(join(pages, 'public'), { recursive: true });
      }
      server = createServer(sirv(directory, { dev: true })).listen(0);
      browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    });
    after(async () => {
      await browser?.close();
      server?.close();
    });

    const open = async (path: string): Promise<Page> => {
      const page = await browser.newPage();
      page.setDefaultTimeout(300_000);
      await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/${path}`);
      return page;
    };

    it('first-share.html runs a script in the guest, with the files that the tutorial copies', async () => {
      const site = join(directory, 'first-share');
      mkdirSync(site);
      for (const name of ['embed', 'guest'])
        cpSync(join(project, 'node_modules/v86-virtiofs/dist/page', name), join(site, name), { recursive: true });
      copyFileSync(join(EXAMPLES, 'page/first-share.html'), join(site, 'index.html'));
      const page = await open('first-share/');
      await page.waitForFunction(`document.querySelector('#output').textContent.startsWith('hello from Linux ')`);
      await page.close();
    });

    for (const bundler of ['webpack', 'esbuild']) {
      it(`own-page.ts gives the guest files, bundled by ${bundler}`, async () => {
        const page = await open(`${bundler}/own-page.html`);
        await visitOwnPage(page);
        await page.close();
      });
    }

    it('embedded.ts runs a command, bundled by webpack', async () => {
      const page = await open('webpack/embedded.html');
      await page.waitForFunction(`document.querySelector('#output').textContent === 'from the page\\n'`);
      await page.close();
    });
  });
});
