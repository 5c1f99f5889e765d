import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import { useWebSite, type Visit } from './support.ts';

/** A red dot. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==',
  'base64',
);

describe('the page: files', () => {
  const site = useWebSite();
  let directory: string;

  before(() => void (directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-files-'))));
  after(() => rmSync(directory, { recursive: true, force: true }));

  /** A file of this machine, to be dropped. */
  function local(name: string, content: string | Uint8Array): string {
    const path = join(directory, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  async function open(): Promise<Visit> {
    const visit = await site.open();
    await visit.ready();
    await row(visit, '/README.txt').waitFor();
    return visit;
  }

  const row = ({ page }: Visit, path: string): Locator => page.locator(`vm-files .row[data-path="${path}"]`);
  const editor = ({ page }: Visit): Locator => page.locator('vm-text-editor .cm-content');
  const viewer = ({ page }: Visit): Locator => page.locator('vm-file-viewer');
  const area = ({ page }: Visit): Locator => page.locator('vm-files .area');
  const button = ({ page }: Visit, name: string): Locator => page.getByRole('button', { name, exact: true });

  async function answer({ page }: Visit, action: string, text?: string): Promise<void> {
    const dialog = page.getByRole('dialog');
    if (text !== undefined) await dialog.getByRole('textbox').fill(text);
    await dialog.getByRole('button', { name: action }).click();
    await dialog.waitFor({ state: 'detached' });
  }

  async function told({ page }: Visit, text: RegExp): Promise<void> {
    await page.getByRole('alert').getByText(text).waitFor();
  }

  const contentOf = ({ page }: Visit) =>
    page.locator('vm-text-editor').evaluate((element) => (element as unknown as { value: string }).value);

  it('has an icon of its own on each button', async () => {
    const visit = await open();
    const drawn = await visit.page
      .locator('vm-files .toolbar button.icon path')
      .evaluateAll((paths) => paths.map((path) => path.getAttribute('d')));
    expect(drawn).to.have.length.above(4);
    expect(new Set(drawn)).to.have.lengthOf(drawn.length);
    const folder = await row(visit, '/docs')
      .locator('path')
      .evaluateAll((paths) => paths.map((path) => path.getAttribute('d')));
    expect(drawn.filter((path) => folder.includes(path))).to.deep.equal([]);
  });

  describe('live, both ways', () => {
    it('shows what the guest makes, changes, moves and deletes', async () => {
      const visit = await open();
      await visit.run('echo from the guest > note.txt');
      await row(visit, '/note.txt').click();
      await visit.until(async () => (await contentOf(visit)) === 'from the guest\n', 'the content is not there');
      await visit.run('echo more >> note.txt; chmod 600 note.txt; chown 1000:1000 note.txt');
      await visit.until(
        async () => (await contentOf(visit)) === 'from the guest\nmore\n',
        'the content is not the new one',
      );
      await viewer(visit).getByText('-rw-------').waitFor();
      await viewer(visit)
        .getByText(/^(user|1000):(user|1000)$/)
        .waitFor();
      const ino = await visit.run('stat -c %i note.txt');
      await viewer(visit).locator('.facts').getByText(ino, { exact: true }).waitFor();
      await visit.run('mv note.txt renamed.txt; mkdir -p a/b; ln -s renamed.txt link');
      await row(visit, '/renamed.txt').waitFor();
      await row(visit, '/note.txt').waitFor({ state: 'detached' });
      await row(visit, '/link').getByText('→ renamed.txt').waitFor();
      await row(visit, '/a').click();
      await row(visit, '/a/b').waitFor();
      await visit.run('rm -r a renamed.txt');
      await row(visit, '/a').waitFor({ state: 'detached' });
      await row(visit, '/renamed.txt').waitFor({ state: 'detached' });
    });

    it('saves edits into the guest, and says who has the file open and locked', async () => {
      const visit = await open();
      await row(visit, '/README.txt').click();
      await editor(visit).fill('edited in the page\n');
      await viewer(visit).getByText('not saved').first().waitFor();
      await editor(visit).press('Control+s');
      await viewer(visit).getByText('not saved').first().waitFor({ state: 'detached' });
      await visit.until(
        async () => (await visit.run('cat README.txt')) === 'edited in the page',
        'the guest has not seen the edit',
      );
      await viewer(visit).getByText('Not open').waitFor();
      await visit.run('(sleep 1000 | locker flock README.txt > /dev/null) & true');
      await viewer(visit)
        .getByText(/to read and write, in the guest, file handle \d+/)
        .first()
        .waitFor();
      await viewer(visit)
        .getByText(/write \(flock\), in the guest, pid \d+, whole file/)
        .waitFor();
      await visit.run('(sleep 1000 | locker flock README.txt > /dev/null) & true');
      await viewer(visit).getByText('Waits for a lock').waitFor();
      await visit.picture('files-locks');
      await visit.run('killall sleep; echo');
      await viewer(visit).getByText('Not open').waitFor();
    });

    it('says which guest of several has a file open and locked', async () => {
      const visit = await open();
      await visit.page.getByRole('tab', { name: 'Timeline' }).click();
      await button(visit, 'Fork').click();
      await visit.page.getByRole('dialog').getByRole('button', { name: 'Same folder' }).click();
      await visit.ready(1);
      await visit.run('(sleep 1000 | locker ofd README.txt > /dev/null) & true', 1);
      await visit.page.getByRole('tab', { name: 'Files' }).click();
      await visit.terminal(0).locator('.screens').click();
      await row(visit, '/README.txt').click();
      await viewer(visit)
        .getByText(/to read and write, in Guest 2, file handle \d+/)
        .first()
        .waitFor();
      await viewer(visit)
        .getByText(/write \(\w+\), in Guest 2, .*whole file/)
        .waitFor();
    });

    it('creates, renames, changes the mode and deletes, for the guest too', async () => {
      const visit = await open();
      await button(visit, 'New folder').click();
      await answer(visit, 'Create', 'things');
      await row(visit, '/things').waitFor();
      await button(visit, 'New file').click();
      await answer(visit, 'Create', 'one.txt');
      await editor(visit).fill('1');
      await button(visit, 'Save').click();
      await viewer(visit).getByText('not saved').first().waitFor({ state: 'detached' });
      expect(await visit.run('cat things/one.txt')).to.equal('1');
      await row(visit, '/things/one.txt').press('F2');
      await answer(visit, 'Rename', 'two.txt');
      await row(visit, '/things/two.txt').waitFor();
      await viewer(visit).getByRole('button', { name: /Mode/ }).click();
      await answer(visit, 'Change', '0751');
      await viewer(visit).getByText('-rwxr-x--x').waitFor();
      await visit.until(
        async () => (await visit.run('stat -c "%a %n" things/*')) === '751 things/two.txt',
        'the guest sees another mode',
      );
      await row(visit, '/things').press('Delete');
      await answer(visit, 'Delete');
      await row(visit, '/things').waitFor({ state: 'detached' });
      await visit.until(async () => /No such file/.test(await visit.run('ls things')), 'the guest still sees it');
    });

    it('tells what can’t be done, and why', async () => {
      const visit = await open();
      await button(visit, 'New file').click();
      await answer(visit, 'Create', 'README.txt');
      await told(visit, /README\.txt is there already: choose another name/);
      await button(visit, 'New folder').click();
      await answer(visit, 'Create', 'x'.repeat(256));
      await told(visit, /"x{256}" is too long: a name has 255 bytes at most/);
      await row(visit, '/README.txt').click();
      await row(visit, '/README.txt').press('F2');
      await answer(visit, 'Rename', 'docs');
      await told(visit, /docs is there already: choose another name/);
      await viewer(visit).getByRole('button', { name: /Mode/ }).click();
      await answer(visit, 'Change', '0888');
      await told(visit, /0888 is not a mode/);
      expect(await visit.run('stat -c %a README.txt')).to.equal('644');
    });
  });

  describe('in and out', () => {
    it('takes dropped files and folders, into the directory they are dropped on', async () => {
      const visit = await open();
      const bytes = Uint8Array.from({ length: 300_000 }, (_, n) => n % 251);
      const file = local('data.bin', bytes);
      local('tree/deep/leaf.txt', 'leaf');
      mkdirSync(join(directory, 'tree/empty'), { recursive: true });
      await visit.drop(area(visit), [file, join(directory, 'tree')]);
      await row(visit, '/data.bin').waitFor();
      await row(visit, '/tree').click();
      await row(visit, '/tree/empty').waitFor();
      expect(await visit.run('md5sum < data.bin; cat tree/deep/leaf.txt; ls -d tree/empty')).to.equal(
        `${execFileSync('md5sum', [file]).toString().split(' ')[0]}  -\nleaftree/empty`,
      );
      await visit.drop(row(visit, '/tree/empty'), [local('into.txt', 'here')]);
      await visit.until(
        async () => (await visit.run('cat tree/empty/into.txt')) === 'here',
        'it is not in the directory it was dropped on',
      );
    });

    it('takes files and folders that are chosen with its buttons', async () => {
      const visit = await open();
      local('chosen/one.txt', 'one');
      local('chosen/deep/two.txt', 'two');
      const choose = async (name: string, paths: string | string[]) => {
        const [chooser] = await Promise.all([visit.page.waitForEvent('filechooser'), button(visit, name).click()]);
        await chooser.setFiles(paths);
      };
      await choose('Upload files', [join(directory, 'chosen/one.txt')]);
      await row(visit, '/one.txt').waitFor();
      await row(visit, '/docs').click();
      await choose('Upload a folder', join(directory, 'chosen'));
      await row(visit, '/docs/chosen').waitFor();
      expect(await visit.run('cat one.txt docs/chosen/one.txt docs/chosen/deep/two.txt')).to.equal('oneonetwo');
    });

    it('asks before it replaces, and keeps what it is told to keep', async () => {
      const visit = await open();
      const file = local('README.txt', 'another');
      await visit.drop(area(visit), [file]);
      await answer(visit, 'Cancel');
      expect(await visit.run('head -c 8 README.txt')).to.equal('Welcome!');
      await visit.run('chmod 640 README.txt');
      await visit.drop(area(visit), [file]);
      await answer(visit, 'Replace');
      await visit.until(
        async () => (await visit.run('cat README.txt; stat -c " %a" README.txt')) === 'another 640',
        'it was not replaced',
      );
    });

    it('unpacks a tar or tar.gz that is dropped, or keeps it, and says what it leaves out', async () => {
      const visit = await open();
      local('packed/dir/file.txt', 'packed');
      execFileSync('ln', ['-sf', 'file.txt', join(directory, 'packed/dir/symlink')]);
      execFileSync('tar', ['-C', join(directory, 'packed'), '-czf', join(directory, 'packed.tar.gz'), 'dir']);
      await visit.drop(area(visit), [join(directory, 'packed.tar.gz')]);
      await answer(visit, 'Unpack');
      await row(visit, '/dir').waitFor();
      expect(await visit.run('cat dir/symlink')).to.equal('packed');
      await visit.drop(area(visit), [join(directory, 'packed.tar.gz')]);
      await answer(visit, 'Keep as it is');
      await row(visit, '/packed.tar.gz').click();
      await visit.run('rm -r dir');
      await row(visit, '/dir').waitFor({ state: 'detached' });
      await button(visit, 'Unpack here').click();
      await answer(visit, 'Unpack');
      await row(visit, '/dir').waitFor();
      await visit.drop(area(visit), [local('broken.tar', 'no archive at all'.repeat(100))]);
      await answer(visit, 'Unpack');
      await told(visit, /the tar archive could not be unpacked/);
    });

    it('downloads a file, a folder and everything', async () => {
      const visit = await open();
      await visit.run('dd if=/dev/urandom of=random bs=1k count=64 2>/dev/null');
      const fetch = async (name: string) => {
        const download = await visit.download(() => button(visit, name).click());
        return { name: download.suggestedFilename(), path: await download.path() };
      };
      await row(visit, '/random').click();
      const file = await fetch('Download random');
      expect(file.name).to.equal('random');
      expect(execFileSync('md5sum', [file.path]).toString().split(' ')[0]).to.equal(
        (await visit.run('md5sum random')).split(' ')[0],
      );
      await row(visit, '/docs').click();
      const folder = await fetch('Download docs');
      expect(folder.name).to.equal('docs.tar');
      expect(execFileSync('tar', ['-tf', folder.path]).toString()).to.equal('how-it-works.txt\n');
      await row(visit, '/docs').press('Escape');
      const all = await fetch('Download all');
      expect(all.name).to.equal('share.tar');
      expect(execFileSync('tar', ['-tf', all.path]).toString().split('\n')).to.include.members([
        'README.txt',
        'docs/how-it-works.txt',
        'random',
      ]);
      expect(execFileSync('tar', ['-xOf', all.path, 'README.txt']).toString()).to.equal(
        readFileSync(join(import.meta.dirname, '../../web/share/README.txt'), 'utf8'),
      );
    });

    it('says that the folder is full, and loses nothing', async () => {
      const visit = await open();
      await row(visit, '/README.txt').click();
      await editor(visit).waitFor();
      const before = await contentOf(visit);
      await visit.run('fallocate -l $(($(df -k . | tail -1 | awk "{print \\$4}") - 8))k filler');
      await visit.drop(area(visit), [local('large.bin', new Uint8Array(200_000))]);
      await told(visit, /200 KB do not fit into the shared folder: it has \S+ KB of room.*Nothing was copied/);
      await editor(visit).fill('long '.repeat(20_000));
      await button(visit, 'Save').click();
      await told(visit, /README\.txt does not fit: the shared folder is full; delete something, and try again/);
      await viewer(visit).getByText('not saved').first().waitFor();
      expect(await visit.run('md5sum < README.txt')).to.contain(createHash('md5').update(before).digest('hex'));
      await visit.run('rm filler');
      await button(visit, 'Save').click();
      await viewer(visit).getByText('not saved').first().waitFor({ state: 'detached' });
      expect(await visit.run('wc -c < README.txt')).to.equal('100000');
    });
  });

  describe('the editor', () => {
    it('says on a phone too what is edited and not saved', async () => {
      const visit = await open();
      const name = 'notes-of-a-long-day-in-the-laboratory.txt';
      await visit.run(`echo > ${name}`);
      await row(visit, `/${name}`).click();
      await editor(visit).fill('a draft');
      await visit.page.setViewportSize({ width: 390, height: 780 });
      await visit.page.getByRole('navigation').getByRole('button', { name: 'Files' }).click();
      const state = viewer(visit).locator('.title').getByText('not saved');
      const isWhole = (part: Locator) =>
        part.evaluate(
          (element) =>
            element.scrollWidth <= element.clientWidth && element.getBoundingClientRect().right <= innerWidth,
        );
      for (const part of [viewer(visit).locator('.title .name'), button(visit, 'Discard'), button(visit, 'Save')])
        expect(await isWhole(part)).to.equal(true);
      expect((await state.boundingBox())!.width).to.be.above(50);
      expect(await viewer(visit).locator('.title strong').getAttribute('title')).to.equal(`/${name}`);
      await visit.picture('files-editor-phone');
    });

    it('keeps what is not saved while the visitor looks at other files and panels', async () => {
      const visit = await open();
      await row(visit, '/README.txt').click();
      await editor(visit).fill('a draft');
      await row(visit, '/count.sh').click();
      await visit.until(async () => (await contentOf(visit)).startsWith('#!/bin/sh'), 'the other file is not shown');
      await row(visit, '/README.txt').getByText('not saved').waitFor();
      await row(visit, '/README.txt').click();
      expect(await contentOf(visit)).to.equal('a draft');
      await button(visit, 'Discard').click();
      await visit.until(async () => (await contentOf(visit)).startsWith('Welcome!'), 'the draft is not discarded');
    });

    it('undoes what was typed, also when another file was looked at meanwhile, and wraps long lines', async () => {
      const visit = await open();
      const { page } = visit;
      await visit.run("echo 'one\rtwo' > long.sh; printf '%0300d\\n' 7 >> long.sh; echo 'echo \"done\"' >> long.sh");
      await row(visit, '/long.sh').click();
      const before = await visit.run('cat long.sh');
      await visit.until(async () => (await contentOf(visit)).includes('done'), 'the content is not there');
      await editor(visit).click();
      await page.keyboard.press('Control+End');
      await page.keyboard.insertText('typed');
      await viewer(visit).getByText('not saved').waitFor();
      await row(visit, '/README.txt').click();
      await visit.until(async () => /Welcome/.test(await contentOf(visit)), 'the other file is not there');
      await row(visit, '/long.sh').click();
      await visit.until(async () => (await contentOf(visit)).endsWith('typed'), 'the draft is not there');
      await editor(visit).click();
      await page.keyboard.press('Control+z');
      await viewer(visit).getByText('not saved').waitFor({ state: 'detached' });
      const lines = () =>
        page
          .locator('vm-text-editor .cm-line')
          .nth(1)
          .evaluate((line) => line.getBoundingClientRect().height);
      const wrapped = await lines();
      await visit.picture('files-editor');
      await button(visit, 'Wrap').click();
      await visit.until(async () => (await lines()) < wrapped / 2, 'the line is still wrapped');
      expect(await visit.run('cat long.sh')).to.equal(before);
    });

    it('does not write over what the guest has written since: the visitor chooses', async () => {
      const visit = await open();
      await visit.run('echo one > file');
      await row(visit, '/file').click();
      await editor(visit).fill('mine');
      await visit.run('echo two > file');
      await viewer(visit).getByText('The file has changed since you began to edit it').waitFor();
      expect(await contentOf(visit)).to.equal('mine');
      await button(visit, 'Save').click();
      await visit.picture('files-conflict');
      expect(await visit.run('cat file')).to.equal('two');
      await button(visit, 'Save mine as a copy').click();
      await row(visit, '/file.mine').waitFor();
      await visit.until(async () => (await contentOf(visit)) === 'two\n', 'the guest’s text is not shown');
      expect(await visit.run('cat file.mine')).to.equal('mine');
      await editor(visit).fill('mine again');
      await visit.run('echo three > file');
      await button(visit, 'Overwrite').click();
      await visit.until(async () => (await visit.run('cat file')) === 'mine again', 'it was not overwritten');
      await editor(visit).fill('mine no more');
      await visit.run('echo four > file');
      await button(visit, 'Discard').click();
      await visit.until(async () => (await contentOf(visit)) === 'four\n', 'the guest’s text is not shown');
    });

    it('takes no offence when the guest writes the same again, or only touches the file', async () => {
      const visit = await open();
      await visit.run('echo one > file');
      await row(visit, '/file').click();
      await editor(visit).fill('mine');
      await visit.run('echo one > file; touch file; sync');
      await visit.run('touch seen');
      await row(visit, '/seen').waitFor();
      await button(visit, 'Save').click();
      await visit.until(async () => (await visit.run('cat file')) === 'mine', 'it was not saved');
    });

    it('keeps edits of a file that the guest deletes', async () => {
      const visit = await open();
      await visit.run('echo one > file');
      await row(visit, '/file').click();
      await editor(visit).fill('still mine');
      await visit.run('rm file');
      await viewer(visit).getByText('The file was deleted').waitFor();
      await row(visit, '/count.sh').click();
      await visit.page.getByText('Not saved, and deleted').waitFor();
      await button(visit, '/file').click();
      expect(await contentOf(visit)).to.equal('still mine');
      await button(visit, 'Save').click();
      await visit.until(async () => (await visit.run('cat file')) === 'still mine', 'the file was not made again');
    });

    it('keeps a file’s line ends, and its last line as it is', async () => {
      const visit = await open();
      await visit.run('printf "a\\r\\nb\\r\\n" > dos; printf "a\\r\\nb\\nc" > mixed');
      await row(visit, '/dos').click();
      await editor(visit).fill('a\nb\nc');
      await button(visit, 'Save').click();
      await viewer(visit).getByText('not saved').first().waitFor({ state: 'detached' });
      expect(await visit.run('od -An -c dos | tr -s " "')).to.equal('a \\r \\n b \\r \\n c');
      await row(visit, '/mixed').click();
      await viewer(visit).getByText('lines end in different ways').waitFor();
    });

    it('previews pictures, bytes and large files, and says what it leaves out', async () => {
      const visit = await open();
      await visit.drop(area(visit), [local('dot.png', PNG), local('broken.png', 'no picture')]);
      await row(visit, '/dot.png').click();
      await visit.until(
        async () =>
          viewer(visit)
            .locator('img')
            .evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth === 5),
        'no picture',
      );
      await row(visit, '/broken.png').click();
      await viewer(visit).getByText('no picture').waitFor();
      await visit.run(
        'head -c 3000 /dev/zero > zeros; seq 1 2000 > long.txt; for i in 1 2 3 4 5 6 7 8; do cat long.txt long.txt > l; mv l long.txt; done; truncate -s 200M sparse',
      );
      // While files come and go their rows move.
      await row(visit, '/sparse').waitFor();
      await row(visit, '/l').waitFor({ state: 'detached' });
      await row(visit, '/zeros').click();
      await viewer(visit).getByText('the first 512 bytes of 3.0 KB').waitFor();
      await row(visit, '/long.txt').click();
      await viewer(visit).getByText('The first 66 KB of 2.3 MB: texts up to 1.0 MB can be edited here.').waitFor();
      await row(visit, '/sparse').click();
      await viewer(visit).getByText('the first 512 bytes of 210 MB').waitFor();
      await visit.picture('files-bytes');
    });

    it('has all of very many files, and draws those that can be seen', async () => {
      const visit = await open();
      const { page } = visit;
      await visit.run('mkdir many; cd many; i=0; while [ $i -lt 5000 ]; do : > f$i; i=$((i+1)); done; cd ..');
      await row(visit, '/many').click();
      await row(visit, '/many/f1').waitFor();
      expect(await row(visit, '/many/f1').getAttribute('aria-setsize')).to.equal('5000');
      expect(await page.locator('vm-files .row').count()).to.be.below(100);
      await row(visit, '/many').focus();
      await page.keyboard.press('End');
      await row(visit, '/README.txt').waitFor();
      await page.keyboard.press('ArrowUp');
      await page.keyboard.press('ArrowUp');
      await row(visit, '/many/f4999').waitFor();
      expect(await row(visit, '/many/f4999').getAttribute('aria-selected')).to.equal('true');
      expect(await row(visit, '/many/f1').count()).to.equal(0);
      await area(visit).evaluate((element) => (element.scrollTop = 0));
      await row(visit, '/many/f1').waitFor();
    });

    it('finds files by name in the whole folder, and sorts by size and time', async () => {
      const visit = await open();
      const { page } = visit;
      const paths = () =>
        page.locator('vm-files .row').evaluateAll((rows) => rows.map((each) => (each as HTMLElement).dataset['path']));
      await visit.run(
        'mkdir -p deep/er; seq 1 900 > deep/er/Large; touch -d 2001-02-03 deep/er/Large; echo small > small.largest; touch -d 2002-02-03 small.largest',
      );
      await page.getByLabel('Find files by name').fill('LARGE');
      await row(visit, '/deep/er/Large').waitFor();
      expect(await paths()).to.deep.equal(['/deep/er/Large', '/small.largest']);
      await page.locator('vm-files').getByRole('button', { name: 'Size' }).click();
      await page.locator('vm-files').getByRole('button', { name: 'Size', pressed: true }).waitFor();
      expect(await paths()).to.deep.equal(['/deep/er/Large', '/small.largest']);
      await page.locator('vm-files').getByRole('button', { name: 'Modified' }).click();
      await page.locator('vm-files').getByRole('button', { name: 'Modified', pressed: true }).waitFor();
      expect(await paths()).to.deep.equal(['/small.largest', '/deep/er/Large']);
      await row(visit, '/deep/er/Large').click();
      await visit.until(async () => (await contentOf(visit)).startsWith('1\n2\n'), 'the content is not there');
      await visit.run('echo more > deep/larger');
      await row(visit, '/deep/larger').waitFor();
      await visit.picture('files-found');
      await page.getByLabel('Find files by name').fill('nowhere');
      await page.getByText('No file has “nowhere” in its name.').waitFor();
      await page.getByLabel('Find files by name').fill('');
      await row(visit, '/README.txt').waitFor();
      expect(await row(visit, '/deep/larger').count()).to.equal(0);
    });
  });

  it('is used with the keyboard alone, as a tree', async () => {
    const visit = await open();
    const { page } = visit;
    await row(visit, '/docs').focus();
    const focused = () =>
      page.evaluate(() => {
        let element = document.activeElement;
        while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
        return (element as HTMLElement | null)?.dataset['path'];
      });
    const press = async (key: string) => {
      await page.keyboard.press(key);
      return focused();
    };
    await page.keyboard.press('ArrowRight');
    await row(visit, '/docs/how-it-works.txt').waitFor();
    expect(await row(visit, '/docs').getAttribute('aria-expanded')).to.equal('true');
    expect(await press('ArrowRight')).to.equal('/docs/how-it-works.txt');
    expect(await press('ArrowLeft')).to.equal('/docs');
    expect(await press('End')).to.equal('/README.txt');
    expect(await press('ArrowUp')).to.equal('/count.sh');
    expect(await press('r')).to.equal('/README.txt');
    expect(await press('Home')).to.equal('/docs');
    await page.keyboard.press('ArrowLeft');
    await row(visit, '/docs/how-it-works.txt').waitFor({ state: 'detached' });
    expect(await press('ArrowDown')).to.equal('/count.sh');
    expect(await page.locator('[role=tree] [tabindex="0"]').count()).to.equal(1);
    expect(await row(visit, '/count.sh').getAttribute('aria-selected')).to.equal('true');
    await page.keyboard.press('Delete');
    await page.keyboard.press('Escape');
    await row(visit, '/count.sh').waitFor();
  });
});
