import { expect } from 'chai';
import { createFsFromVolume } from 'memfs';
import { dumpJson, dumpTar, loadTar, MemoryFileSystem, type VirtioFsDevice, volumeOf } from '../../../device/index.ts';
import { Share } from '../../../harness/machine/share.ts';
import { ChunkOrigin, empty } from '../../support/chunk-origin.ts';

const LONG = Array.from({ length: 45_000 }, (_, n) => `${n} `).join('');

function start() {
  // Less than the file has.
  const origin = new ChunkOrigin();
  const filesystem = new MemoryFileSystem({ origin, maxContent: 2 << 16 });
  const volume = volumeOf(filesystem);
  const fs = createFsFromVolume(volume);
  fs.mkdirSync('/dir');
  fs.writeFileSync('/dir/long', LONG);
  fs.writeFileSync('/short', 'short');
  empty(filesystem, origin);
  const share = new Share({ tag: 'root', filesystem } as VirtioFsDevice);
  return { origin, filesystem, fs, share };
}

describe('content that is elsewhere, on the host', () => {
  it('what can’t wait says what to do, and changes nothing', () => {
    const { fs, origin } = start();
    for (const [syscall, action] of Object.entries({
      read: () => fs.readFileSync('/dir/long'),
      write: () => fs.writeFileSync('/dir/long', 'x', { flag: 'r+' }),
      ftruncate: () => fs.truncateSync('/dir/long', 100),
    })) {
      const expected = new RegExp(
        `^EAGAIN: the content is not here yet, ${syscall} '/dir/long': .*await share.fetch\\("/dir/long"\\)`,
      );
      expect(action, syscall).to.throw(Error, expected).with.property('code', 'EAGAIN');
    }
    expect(fs.statSync('/dir/long').size).to.equal(LONG.length);
    expect(origin.fetches).to.deep.equal([]);
    fs.writeFileSync('/dir/long', 'anew');
    expect(fs.readFileSync('/dir/long', 'utf8'), 'what is overwritten').to.equal('anew');
  });

  it('`fetch` keeps it here until it is released, beyond the limit', async () => {
    const { fs, share, origin } = start();
    const release = await share.fetch('/dir/long');
    expect(fs.readFileSync('/dir/long', 'utf8')).to.equal(LONG);
    expect(await fs.promises.readFile('/short', 'utf8'), 'others are fetched meanwhile').to.equal('short');
    release();
    expect(() => fs.readFileSync('/dir/long')).to.throw(/EAGAIN/);
    origin.fails = () => true;
    let thrown: unknown;
    await share.fetch('/dir/long').catch((error: unknown) => (thrown = error));
    expect(thrown).to.have.property('message', 'EIO');
    await share.fetch('/dir/none').catch((error: unknown) => (thrown = error));
    expect(thrown).to.have.property('message', '/dir/none is not in share "root"');
  });

  it('what calls back or promises fetches first', async () => {
    const { fs } = start();
    expect(await fs.promises.readFile('/dir/long', 'utf8')).to.equal(LONG);
    expect(await new Promise((resolve) => fs.readFile('/short', 'utf8', (_, text) => resolve(text)))).to.equal('short');
    await fs.promises.appendFile('/short', ' and more');
    expect(await fs.promises.readFile('/short', 'utf8')).to.equal('short and more');
    await fs.promises.copyFile('/dir/long', '/copy');
    expect(fs.readFileSync('/copy', 'utf8')).to.equal(LONG);
    await fs.promises.truncate('/dir/long', 70_000);
    expect(await fs.promises.readFile('/dir/long', 'utf8')).to.equal(LONG.slice(0, 70_000));
  });

  it('what copies files fetches first, and takes nothing away that it can’t replace', async () => {
    const { fs, origin } = start();
    await fs.promises.cp('/dir', '/twin', { recursive: true });
    expect(fs.readFileSync('/twin/long', 'utf8')).to.equal(LONG);
    await fs.promises.cp('/dir/long', '/file');
    expect(fs.readFileSync('/file', 'utf8')).to.equal(LONG);
    const asked: string[] = [];
    const filter = (from: string) => {
      asked.push(from);
      return !from.endsWith('long');
    };
    await new Promise<void>((resolve, reject) =>
      fs.cp('/dir', '/none', { recursive: true, filter }, (error) => (error ? reject(error as Error) : resolve())),
    );
    expect(asked).to.deep.equal(['/dir', '/dir/long']);
    expect(fs.readdirSync('/none')).to.deep.equal([]);
    expect(await (await (fs as unknown as typeof import('node:fs')).openAsBlob('/dir/long')).text()).to.equal(LONG);

    fs.writeFileSync('/there', 'there');
    const hint = /^EAGAIN: the content is not here yet, copyfile '\/dir\/long': .*await share.fetch\("\/dir\/long"\)/;
    expect(() => fs.copyFileSync('/dir/long', '/there')).to.throw(hint);
    expect(() => fs.cpSync('/dir/long', '/there')).to.throw(hint);
    origin.fails = () => true;
    for (const copy of ['copyFile', 'cp'] as const) {
      const error = await fs.promises[copy]('/dir/long', '/there').then(String, String);
      expect(error, copy).to.match(/EIO/);
    }
    expect(fs.readFileSync('/there', 'utf8')).to.equal('there');
    origin.fails = () => false;
    const gone = await fs.promises.copyFile('/gone', '/there').then(String, String);
    expect(gone).to.match(/ENOENT/);
    expect(fs.readFileSync('/there', 'utf8')).to.equal('there');
    expect(await fs.promises.cp('/dir/long', '/there', 5 as never).then(String, String)).to.match(/TypeError/);
  });

  const CALLS: Record<string, (fs: ReturnType<typeof start>['fs']) => Promise<unknown>> = {
    readFile: (fs) => fs.promises.readFile('/dir/long', 'utf8'),
    appendFile: (fs) => fs.promises.appendFile('/short', ' and more'),
    writeFile: (fs) => fs.promises.writeFile('/dir/long', 'x', { flag: 'r+' }),
    copyFile: (fs) => fs.promises.copyFile('/dir/long', '/copy'),
    cp: (fs) => fs.promises.cp('/dir', '/copy', { recursive: true, preserveTimestamps: true }),
    truncate: (fs) => fs.promises.truncate('/dir/long', 70_000),
    rename: (fs) => fs.promises.rename('/dir/long', '/short'),
    link: (fs) => fs.promises.link('/dir/long', '/link'),
    openAsBlob: async (fs) => (await (fs as unknown as typeof import('node:fs')).openAsBlob('/dir/long')).text(),
    'FileHandle.readFile': async (fs) => (await fs.promises.open('/dir/long')).readFile('utf8'),
    'FileHandle.writeFile': async (fs) => (await fs.promises.open('/dir/long', 'r+')).writeFile('x'),
    'FileHandle.appendFile': async (fs) => (await fs.promises.open('/dir/long', 'a')).appendFile('x'),
    'FileHandle.truncate': async (fs) => (await fs.promises.open('/dir/long', 'r+')).truncate(70_000),
    'FileHandle.writev': async (fs) =>
      (await (await fs.promises.open('/dir/long', 'r+')).writev([Buffer.from('a'), Buffer.from('b')], 5)).bytesWritten,
    createWriteStream: (fs) =>
      new Promise((resolve, reject) => {
        const stream = fs.createWriteStream('/dir/long', { flags: 'r+', start: 100_000 });
        stream.on('error', reject).on('finish', () => resolve(undefined));
        stream.end('hello');
      }),
  };
  for (const [name, call] of Object.entries(CALLS))
    it(`${name} does with what is elsewhere what it does with what is here`, async () => {
      const [elsewhere, here] = [start(), start()];
      for (const path of ['/dir/long', '/short']) await here.share.fetch(path);
      expect(await call(elsewhere.fs)).to.deep.equal(await call(here.fs));
      expect((await dumpJson(elsewhere.filesystem)).json).to.deep.equal((await dumpJson(here.filesystem)).json);
    });

  it('reads through handles go on where the one before ended', async () => {
    const { fs } = start();
    const file = await fs.promises.open('/dir/long', 'r+');
    const parts: Buffer[] = [];
    for (const length of [100, 70_000]) {
      const buffer = Buffer.alloc(length);
      expect((await file.read(buffer, 0, length, null)).bytesRead).to.equal(length);
      parts.push(buffer);
    }
    const buffers = [Buffer.alloc(1000), Buffer.alloc(100_000)];
    await file.readv(buffers);
    expect(Buffer.concat([...parts, ...buffers]).toString()).to.equal(LONG.slice(0, 171_100));
    await file.write('written', 150_000);
    await file.close();
    expect((await fs.promises.readFile('/dir/long', 'utf8')).slice(149_999, 150_008)).to.equal(
      `${LONG[149_999]}written${LONG[150_007]}`,
    );
  });

  it('streams fetch as they go', async () => {
    const { fs } = start();
    const parts: Buffer[] = [];
    for await (const part of fs.createReadStream('/dir/long')) parts.push(part as Buffer);
    expect(Buffer.concat(parts).toString()).to.equal(LONG);
  });

  it('what can’t be fetched is an error, and the next call may find it', async () => {
    const { fs, origin } = start();
    origin.fails = () => true;
    let thrown: unknown;
    await fs.promises.readFile('/dir/long').catch((error: unknown) => (thrown = error));
    expect(thrown).to.have.property('message', 'EIO');
    origin.fails = () => false;
    expect(await fs.promises.readFile('/dir/long', 'utf8')).to.equal(LONG);
  });

  it('tar and JSON have all of it', async () => {
    const { filesystem } = start();
    const { json } = await dumpJson(filesystem);
    expect(json).to.deep.equal({ '/dir/long': LONG, '/short': 'short' });
    const { stream, report } = dumpTar(filesystem);
    const again = new MemoryFileSystem();
    await loadTar(again, stream);
    expect(report.skipped).to.deep.equal([]);
    expect((await dumpJson(again)).json).to.deep.equal(json);
  });
});
