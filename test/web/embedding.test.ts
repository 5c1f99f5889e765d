import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sirv from 'sirv';
import { build } from 'vite';
import webpack from 'webpack';
import type { createVm as CreateVm, Vm } from '../../web/embed/vm.ts';
import { PATIENCE, useWebSite, Visit } from './support.ts';

const ROOT = join(import.meta.dirname, '../..');

/** As docs/embedding.md has it. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:";

declare const createVm: typeof CreateVm;
declare let vm: Vm;
declare const heard: unknown[];
declare let directoryChanges: number;

describe('the page: embedding', () => {
  const site = useWebSite();

  /** A page of somebody else's, with {@link createVm} in it. */
  async function openBlank(body = ''): Promise<Visit> {
    site.intercept = (request, response, next) => {
      response.setHeader('content-security-policy', POLICY);
      if (!request.url!.endsWith('/blank.html')) return next();
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end(`<!doctype html><html lang="en"><title>blank</title><link rel="icon" href="data:,"><body>${body}`);
    };
    const visit = await site.open({ path: 'blank.html' });
    await visit.page.evaluate(
      `import('${site.url}embed/page/virtiofs-vm.js').then(({ createVm }) => Object.assign(globalThis, { createVm, heard: [], directoryChanges: 0 }))`,
    );
    return visit;
  }

  it('the example of 30 lines runs scripts, undoes them, and follows the folder', async () => {
    const visit = await site.open({ path: 'example.html' });
    const { page } = visit;
    await page.getByText('3 files').waitFor();
    await page.getByRole('button', { name: 'Run' }).click();
    await page
      .getByRole('log')
      .getByText(/line 1\nline 2\nline 3\n\(ended with 0\)/)
      .waitFor();
    await page.getByText('5 files').waitFor();
    await page.locator('vm-files .row[data-path="/numbers.txt"]').waitFor();
    await page.getByLabel('Script').fill('ls nothing');
    await page.getByRole('button', { name: 'Run' }).click();
    await page
      .getByRole('log')
      .getByText(/nothing: No such file or directory\n\(ended with 1\)/)
      .waitFor();
    expect(await visit.run('cat script.sh')).to.equal('ls nothing');
    await visit.picture('example');
    await page.getByRole('button', { name: 'Undo all' }).click();
    await page.getByText('3 files').waitFor();
    expect(await visit.run('ls numbers.txt')).to.match(/No such file/);
    expect(visit.strangers).to.deep.equal([]);
  });

  it('a guest that is not to be seen takes commands, files and snapshots', async () => {
    const visit = await openBlank();
    const { page } = visit;
    const events = await page.evaluate(async () => {
      vm = createVm();
      vm.on('ready', () => heard.push('ready'));
      vm.on('progress', ({ what }) => heard.at(-1) !== what && heard.push(what));
      // Nothing waits for `ready` here: that is the handle's business.
      const { stdout } = await vm.exec(['cat', '/proc/sys/kernel/ostype']);
      return [...heard, stdout];
    });
    expect(events).to.deep.equal(['emulator', 'download', 'snapshot', 'guest', 'ready', 'Linux\n']);

    expect(
      await page.evaluate(async () =>
        vm.exec('read line; echo "$line $WHO in $(pwd)"; echo oops >&2; exit 3', {
          stdin: 'hello',
          cwd: vm.mountPoint,
          env: { WHO: 'you' },
        }),
      ),
    ).to.deep.equal({ stdout: 'hello you in /mnt/share\n', stderr: 'oops\n', code: 3 });
    expect(
      await page.evaluate(() => vm.exec('sleep 1000', { timeout: 200 }).catch((error: Error) => error.name)),
    ).to.equal('TimeoutError');

    expect(
      await page.evaluate(async () => {
        const { fs } = vm;
        await fs.write('/deep/er/text', 'text');
        await fs.write('/bytes', Uint8Array.of(0, 255));
        await fs.makeDirectory('/empty');
        await fs.rename('/bytes', '/deep/bytes');
        const bytes = [...(await fs.read('/deep/bytes'))];
        const archive = await fs.pack('/deep');
        await fs.unpack(archive, '/empty');
        await fs.remove('/deep');
        const text = await fs.readText('/empty/er/text');
        const names = (await fs.list('/empty')).map(({ name, kind }) => `${name} ${kind}`);
        return { bytes, text, names, gone: await fs.stat('/deep'), size: (await fs.stat('/empty/bytes'))!.size };
      }),
    ).to.deep.equal({ bytes: [0, 255], text: 'text', names: ['er directory', 'bytes file'], gone: undefined, size: 2 });
    expect(
      await page.evaluate(async () => (await vm.exec('cat empty/er/text; ls', { cwd: vm.mountPoint })).stdout),
    ).to.equal('textREADME.txt\ncount.sh\ndocs\nempty\n');
    for (const [call, message] of [
      [`vm.fs.read('/none')`, /\/none does not exist/],
      [`vm.fs.list('/README.txt')`, /not a directory/],
      [`vm.fs.write('/docs', '')`, /directory of this name is not empty/],
      [`vm.rewind('nothing')`, /nothing/],
    ] as const)
      expect(await page.evaluate(`${call}.then(() => 'done', (error) => error.message)`)).to.match(message);

    await page.evaluate(() => {
      heard.length = 0;
      vm.fs.watch('/watched', (entry) => heard.push(entry?.size));
      const stop = vm.fs.watch('/', () => {
        directoryChanges++;
        stop();
      });
    });
    for (const [command, told] of [
      ['echo one > watched', 4],
      ['echo two >> watched', 8],
      ['touch other; rm watched', null],
    ] as const) {
      await page.evaluate((line) => vm.exec(line, { cwd: vm.mountPoint }), command);
      await page.waitForFunction((last) => (heard.at(-1) ?? null) === last, told);
    }
    expect(await page.evaluate(() => directoryChanges)).to.equal(1);

    const rewound = await page.evaluate(async () => {
      const read = async () => (await vm.exec('cat moment', { cwd: vm.mountPoint })).stdout;
      await vm.fs.write('/moment', 'first');
      const first = await vm.snapshot('first');
      await vm.fs.write('/moment', 'second');
      const file = await vm.export(await vm.snapshot());
      await vm.rewind(first);
      const texts = [await read()];
      const names = (await vm.snapshots()).map(({ name }) => name);
      for (const { id, kind } of await vm.snapshots()) if (kind === 'manual') await vm.removeSnapshot(id);
      await vm.rewind(await vm.import(file));
      return { texts: [...texts, await read()], names };
    });
    expect(rewound).to.deep.equal({ texts: ['first', 'second'], names: ['', 'first', 'start'] });

    expect(
      await page.evaluate(async () => {
        const pending = vm.exec('sleep 1000').catch((error: Error) => error.message);
        vm.destroy();
        return [await pending, await vm.fs.list().catch((error: Error) => error.message)];
      }),
    ).to.deep.equal(['this guest was destroyed', 'this guest was destroyed']);
    await visit.until(async () => page.workers().length === 0, 'its worker goes on');
  });

  it('shows what is asked for, beside another guest, where it is put', async () => {
    const visit = await openBlank(
      '<style>div { width: 600px; height: 340px; }</style><div id="one"></div><div id="two"></div>',
    );
    const { page } = visit;
    await page.evaluate(async () => {
      const [one, two] = ['one', 'two'].map((id) => document.getElementById(id)!);
      const vms = [
        createVm({ container: one!, panels: [], theme: 'dark' }),
        createVm({ container: two!, panels: ['timeline', 'files'], heading: 'The second' }),
      ];
      await Promise.all(vms.map(({ ready }) => ready));
      await vms[0]!.fs.write('/only', 'here');
    });
    const [one, two] = [page.locator('#one virtiofs-vm'), page.locator('#two virtiofs-vm')];
    expect(await visit.run('cat only', 0)).to.equal('here');
    expect(await visit.run('cat only', 1)).to.match(/No such file/);
    expect(await one.getByRole('navigation').or(one.locator('.side')).or(one.locator('header')).count()).to.equal(0);
    expect(await one.evaluate((element) => getComputedStyle(element).backgroundColor)).to.equal('rgb(11, 14, 19)');
    await two.getByRole('heading', { name: 'The second' }).waitFor();
    // 600 px are few: one view at a time, as on a phone.
    await two.getByRole('navigation').getByRole('button', { name: 'Timeline' }).click();
    await two.getByText('Snapshots are lost when this page is left: export those that matter.').waitFor();
    expect(await two.locator('vm-timeline').getByLabel('Automatic').inputValue()).to.equal('0');
    await visit.picture('embedded');
    await one.evaluate((element) => document.getElementById('two')!.prepend(element));
    expect(await visit.run('cat only', 0)).to.equal('here');
    await two.first().evaluate((element) => (element as HTMLElementTagNameMap['virtiofs-vm']).vm!.destroy());
    await two.nth(1).waitFor({ state: 'detached' });
    await two.evaluate((element) => element.remove());
    await visit.until(async () => page.workers().length === 0, 'a worker goes on');
  });

  it('is an element with attributes and events too', async () => {
    const { page } = await openBlank();
    await page.evaluate(() => {
      const element = document.createElement('virtiofs-vm');
      for (const event of ['ready', 'fileschange', 'problem'])
        element.addEventListener(event, () => !heard.includes(event) && heard.push(event));
      element.setAttribute('src', `${new URL('guest', document.baseURI).href}/`);
      element.setAttribute('panels', 'files');
      document.body.append(element);
      vm = element.vm!;
    });
    await page.locator('vm-files .row[data-path="/README.txt"]').waitFor();
    await page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.fs.write('/new', ''));
    await page.locator('vm-files .row[data-path="/new"]').waitFor();
    expect(await page.evaluate(() => [...heard].sort())).to.deep.equal(['fileschange', 'ready']);
    await page.evaluate(async () => {
      heard.length = 0;
      const element = document.querySelector('virtiofs-vm')!;
      element.addEventListener('statechange', ({ detail }: CustomEventInit) => heard.push(detail.state));
      element.addEventListener('timelinechange', () => heard.includes('timeline') || heard.push('timeline'));
      element.addEventListener('output', ({ detail }: CustomEventInit) => {
        if (new TextDecoder().decode(detail.bytes).includes('told-42')) heard.push(`output of ${detail.guest}`);
      });
    });
    const visit = new Visit(page, site.url);
    await visit.type('echo told-$((6*7))');
    await page.waitForFunction(() => heard.includes('output of guest'));
    await page.evaluate(() => vm.snapshot('mark'));
    await visit.type('halt -f');
    await page.waitForFunction(() => heard.includes('halted'));
    await page.getByRole('button', { name: 'Start again' }).click();
    await page.waitForFunction(() => heard.includes('running'));
    expect(await page.evaluate(() => heard.filter((event) => event !== 'fileschange'))).to.deep.equal([
      'output of guest',
      'timeline',
      'halted',
      'booting',
      'running',
    ]);
  });

  it('goes on where it is moved to, and leaves nothing where it is removed', async () => {
    const visit = await openBlank();
    const { page } = visit;
    await page.evaluate(() => {
      const [set, clear] = [setInterval, clearInterval];
      const running = new Set<unknown>();
      Object.assign(globalThis, {
        running,
        setInterval: (action: () => void, delay: number) => {
          const timer = set(action, delay);
          if (delay === 250) running.add(timer);
          return timer;
        },
        clearInterval: (timer: number) => {
          running.delete(timer);
          clear(timer);
        },
      });
      document.body.innerHTML = '<virtiofs-vm style="height: 480px"></virtiofs-vm>';
    });
    const move = () =>
      page.evaluate(() => {
        const place = document.createElement('div');
        document.body.append(place);
        place.append(document.querySelector('virtiofs-vm')!);
      });
    const warns = () => page.evaluate(() => !dispatchEvent(new Event('beforeunload', { cancelable: true })));
    await visit.run('n=42');
    await page.locator('vm-files .row[data-path="/README.txt"]').click();
    const text = page.locator('vm-text-editor .cm-content');
    await text.waitFor();
    await move();
    await text.waitFor();
    await text.click();
    await page.keyboard.insertText('not saved');
    await page.locator('vm-file-viewer').getByText('not saved', { exact: true }).waitFor();
    expect(await warns()).to.equal(true);
    await page.getByRole('tab', { name: 'Lessons' }).click();
    await page.locator('vm-lessons .lessons button').first().waitFor();
    await move();
    expect(await visit.run('echo $n')).to.equal('42');
    await page.locator('vm-lessons .lessons button').first().click();
    await page.locator('vm-lesson li[aria-current=step]').waitFor();
    await page.waitForFunction('running.size === 1');
    await page.evaluate(() => {
      const element = document.querySelector('virtiofs-vm')!;
      element.remove();
      setTimeout(() => document.body.append(element));
    });
    await page.waitForFunction('running.size === 0');
    expect(await warns()).to.equal(false);
    expect(await visit.run('echo ${n-none}')).to.equal('none');
    expect(await page.locator('vm-lesson').count()).to.equal(0);
  });

  it('is a page of one script and one element', async () => {
    const visit = await site.open({ path: 'one-script.html' });
    expect(await visit.run('pwd')).to.equal('/mnt/share');
    await visit.page.locator('vm-files .row[data-path="/README.txt"]').waitFor();
    await visit.picture('one-script');
  });

  it('begins with files and a command, once, and for a visitor who only looks', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-files-'));
    writeFileSync(join(directory, 'hello.sh'), 'echo "hello from $(cat name)"');
    writeFileSync(join(directory, 'name'), 'the archive');
    const archive = execFileSync('tar', ['-C', directory, '-czf', '-', 'hello.sh', 'name']);
    rmSync(directory, { recursive: true });
    const visit = await openBlank();
    const { page } = visit;
    const blank = site.intercept!;
    site.intercept = (request, response, next) =>
      request.url!.endsWith('files.tgz') ? response.end(archive) : blank(request, response, next);
    const put = (attributes: string) =>
      page.evaluate((html) => {
        document.body.innerHTML = html;
      }, `<virtiofs-vm style="height: 480px" ${attributes}></virtiofs-vm>`);
    await put('files="files.tgz" command="sh hello.sh" store="files" readonly movable welcome');
    await visit.until(async () => /^hello from the archive$/m.test(await visit.screen()), 'the command has not run');
    expect(await page.getByRole('tablist', { name: 'Panels' }).count()).to.equal(1);
    expect(
      await page.getByRole('region', { name: 'Panels' }).locator('> .tabs').getByRole('tab').allInnerTexts(),
    ).to.deep.equal(['Files', 'Inspector']);
    await page.locator('vm-files .row[data-path="/name"]').click();
    await page.locator('vm-text-editor .cm-content').click();
    await page.keyboard.insertText('not this');
    await visit.type('echo not this either > name');
    for (const name of ['New file', 'Rename', 'Delete', 'New shell', 'Save', 'Move the guest'])
      expect(await page.getByRole('button', { name, exact: true }).count(), name).to.equal(0);
    expect(await page.getByRole('region', { name: 'Welcome' }).count()).to.equal(0);
    await page.getByRole('tab', { name: 'Inspector' }).click();
    await page.getByRole('tab', { name: 'Requests' }).waitFor();
    expect(await page.getByRole('tab', { name: 'Step' }).count()).to.equal(0);
    await visit.picture('readonly');
    await page.evaluate(async () => {
      vm = document.querySelector('virtiofs-vm')!.vm!;
      await vm.fs.write('/seen', (await vm.exec('cat name', { cwd: vm.mountPoint })).stdout);
      await vm.snapshot('kept');
      document.querySelector('virtiofs-vm')!.remove();
    });
    // It goes on from the snapshot, which has had both.
    await put('files="nothing.tgz" command="echo again" store="files"');
    expect(await visit.run('cat seen')).to.equal('the archive');
    expect((await visit.screen()).match(/again/g)).to.equal(null);
    await put('files="nothing.tgz"');
    await page.getByText(/the guest’s files, .*nothing\.tgz, can’t be fetched: the server answers 404/).waitFor();
    visit.forgive();
  });

  it('keeps snapshots where it is told to, for who tells the same name', async () => {
    const { page } = await openBlank();
    const start = (store: string) =>
      page.evaluate(async (name) => {
        vm = createVm({ store: name });
        return (await vm.exec('cat /mnt/share/kept')).stdout;
      }, store);
    expect(await start('mine')).to.equal('');
    await page.evaluate(async () => {
      await vm.fs.write('/kept', 'kept');
      await vm.snapshot();
      vm.destroy();
    });
    expect(await start('others')).to.equal('');
    await page.evaluate(() => vm.destroy());
    expect(await start('mine')).to.equal('kept');
  });

  it('says what is wrong when it can’t start', async () => {
    const visit = await openBlank();
    const told = await visit.page.evaluate(async () => {
      vm = createVm({ src: 'nowhere/' });
      vm.on('problem', (message) => heard.push(message));
      const failures = await Promise.all(
        [vm.ready, vm.exec('true'), vm.fs.list()].map((call) =>
          (call as Promise<unknown>).then(
            () => 'done',
            (error: Error) => error.message,
          ),
        ),
      );
      return [...failures, ...heard];
    });
    expect(told).to.have.length(4);
    for (const message of told)
      expect(message).to.match(
        /nowhere\/guest\.json can’t be fetched: the server answers 404 .*\. Serve the directory dist\/page\/guest of the package v86-virtiofs there, or name the place where it is with `src`/,
      );
    expect(
      await visit.page.evaluate(() => {
        try {
          createVm({ container: document.createElement('div') });
        } catch (error) {
          return (error as Error).message;
        }
      }),
    ).to.match(/the container is not in a document/);
    visit.forgive();
  });

  describe('from the package', () => {
    let project: string;

    before(() => {
      project = mkdtempSync(join(tmpdir(), 'v86-virtiofs-embedding-'));
      mkdirSync(join(project, 'node_modules'));
      symlinkSync(ROOT, join(project, 'node_modules/v86-virtiofs'), 'dir');
      writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
    });
    after(() => rmSync(project, { recursive: true, force: true }));

    /** Has the site serve a directory below a path of this name. */
    function serveBelow(name: string, directory: string): void {
      const serve = sirv(directory, { dev: true });
      site.intercept = (request, response, next) => {
        const { url = '' } = request;
        const at = url.lastIndexOf(`/${name}/`);
        if (at < 0) return next();
        request.url = url.slice(at + name.length + 1);
        serve(request, response, next);
      };
    }

    async function expectGuest(path: string): Promise<void> {
      const command = `echo from ${path}`;
      for (const browser of ['Chromium', 'Firefox'] as const) {
        const { page, strangers } = await site.open({ path, browser });
        expect(await page.evaluate(async (text) => (await vm.exec(text)).stdout, command)).to.equal(`from ${path}\n`);
        expect(strangers).to.deep.equal([]);
        await page.close();
      }
    }

    it('has types that stand alone', () => {
      writeFileSync(
        join(project, 'index.ts'),
        `
        import { createVm, type FileEntry, type Vm } from 'v86-virtiofs/page';
        const vm: Vm = createVm({ panels: ['files'], theme: 'dark' });
        vm.on('progress', ({ what, loaded = 0 }) => console.log(what, loaded + 1));
        const entries: FileEntry[] = await vm.fs.list();
        const { code }: { code: number } = await vm.exec('true');
        const element: HTMLElement & { vm: Vm | undefined } = document.createElement('virtiofs-vm');
        // @ts-expect-error: no such panel
        createVm({ panels: ['nothing'] });
        export { code, element, entries };`,
      );
      const options = {
        strict: true,
        noEmit: true,
        module: 'esnext',
        moduleResolution: 'bundler',
        target: 'es2022',
        lib: ['es2022', 'dom'],
        types: [],
      };
      writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['index.ts'] }));
      execFileSync('node', [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', project], {
        stdio: ['ignore', 'inherit', 'inherit'],
      });
    });

    it('works in a page that Vite has built', async () => {
      writeFileSync(
        join(project, 'index.html'),
        '<!doctype html><html lang="en"><title>Vite</title><link rel="icon" href="data:,"><script type="module" src="./index.js"></script></html>',
      );
      writeFileSync(
        join(project, 'index.js'),
        `import { createVm } from 'v86-virtiofs/page'; globalThis.vm = createVm({ src: '../guest/' });`,
      );
      await build({
        root: project,
        base: './',
        logLevel: 'error',
        build: { outDir: 'vite', emptyOutDir: true, target: 'es2022' },
        worker: { format: 'es' },
      });
      serveBelow('vite', join(project, 'vite'));
      await expectGuest('vite/');
    }).timeout(6 * PATIENCE);

    it('works in a bundle made by others, below another path', async () => {
      writeFileSync(
        join(project, 'index.js'),
        `import { createVm } from 'v86-virtiofs/page'; globalThis.vm = createVm({ src: '../guest/' });`,
      );
      const output = join(project, 'output');
      const stats = await new Promise<webpack.Stats | undefined>((resolve, reject) => {
        const done = (error: Error | null, result?: webpack.Stats) => (error ? reject(error) : resolve(result));
        webpack(
          {
            mode: 'development',
            devtool: false,
            context: project,
            entry: './index.js',
            output: { path: output, filename: 'bundle.js' },
          },
          done,
        );
      });
      expect(stats?.toJson({ all: false, errors: true, warnings: true })).to.deep.equal({ errors: [], warnings: [] });
      writeFileSync(
        join(output, 'index.html'),
        '<!doctype html><link rel="icon" href="data:,"><script src="bundle.js"></script>',
      );
      serveBelow('bundled', output);
      await expectGuest('bundled/');
    }).timeout(6 * PATIENCE);
  });
});
