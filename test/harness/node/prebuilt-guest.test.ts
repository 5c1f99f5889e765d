import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { ensureGuestImage, findGuestImage, type GuestImage } from '../../../guest-images/build.ts';
import { packPrebuilt } from '../../../guest-images/prebuilt.ts';
import { ImageServer } from '../../support/image-server.ts';

interface Manifest {
  inputs: string;
  files: Record<string, { size: number; sha256: string }>;
}

describe('a guest image that was built elsewhere', () => {
  let place: string;
  let real: GuestImage;
  let name: string;
  const own = { ...process.env };
  const at = (path: string) => join(place, path);

  /** What a release has, its files with a few bytes each: `built/guest-…`. */
  beforeEach(async () => {
    real = await ensureGuestImage();
    name = basename(dirname(real.vmlinux));
    place = await mkdtemp(join(tmpdir(), 'prebuilt-guest-'));
    await mkdir(at(`built/${name}`), { recursive: true });
    const manifest = await manifestOf(dirname(real.vmlinux));
    for (const file of Object.keys(manifest.files)) {
      const bytes = Buffer.from(`what is in ${file}`);
      await writeFile(at(`built/${name}/${file}`), bytes);
      manifest.files[file] = { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
    }
    await writeFile(at(`built/${name}/manifest.json`), JSON.stringify(manifest));
    await writeFile(at(`built/${name}/initrd-fast-0.img`), 'with the fast driver');
    process.env['V86_VIRTIOFS_CACHE'] = at('cache');
  });
  afterEach(async () => {
    Object.assign(process.env, own);
    for (const variable of ['V86_VIRTIOFS_CACHE', 'V86_VIRTIOFS_GUEST']) restore(variable);
    await rm(place, { recursive: true });
  });
  const restore = (variable: string) => {
    if (own[variable] === undefined) delete process.env[variable];
  };
  const manifestOf = async (directory: string) =>
    JSON.parse(await readFile(join(directory, 'manifest.json'), 'utf8')) as Manifest;
  const change = async (edit: (manifest: Manifest) => void) => {
    const manifest = await manifestOf(at(`built/${name}`));
    edit(manifest);
    await writeFile(at(`built/${name}/manifest.json`), JSON.stringify(manifest));
  };
  /** '' where it was taken, and is whole. */
  const take = async (location: string): Promise<string> => {
    await rm(at('cache'), { recursive: true, force: true });
    process.env['V86_VIRTIOFS_GUEST'] = location;
    try {
      const image = await ensureGuestImage();
      expect(await readFile(image.vmlinux, 'utf8')).to.equal('what is in vmlinux');
      expect(await readFile(join(dirname(image.vmlinux), 'initrd-fast-0.img'), 'utf8')).to.match(/fast/);
      expect(await findGuestImage()).to.deep.equal(image);
      return '';
    } catch (error) {
      expect((error as Error).name).to.equal('GuestImageError');
      expect(await findGuestImage()).to.equal(undefined);
      return (error as Error).message;
    }
  };

  it('is taken from its directory, and one that has it', async () => {
    expect(await take(at('built'))).to.equal('');
    expect(await take(at(`built/${name}`))).to.equal('');
  });

  const damages: [string, () => Promise<void>, RegExp][] = [
    ['a changed file', () => writeFile(at(`built/${name}/vmlinux`), 'what is in vmlinuX'), /^vmlinux in .* is damaged/],
    ['a file that is missing', () => rm(at(`built/${name}/agent`)), /^agent in .* is damaged or missing/],
    ['no manifest', () => rm(at(`built/${name}/manifest.json`)), /has no guest image of v86-virtiofs \d/],
    ['a manifest that is none', () => writeFile(at(`built/${name}/manifest.json`), 'null'), /has no guest image of/],
    ['one of another release', () => change((manifest) => (manifest.inputs = '0')), /has no guest image of/],
    ['a manifest without files', () => change((manifest) => Reflect.deleteProperty(manifest, 'files')), /is damaged/],
    ['a manifest without a file', () => change(({ files }) => Reflect.deleteProperty(files, 'init')), /^init in /],
    ['nothing at all', () => rm(at('built'), { recursive: true }), /built can't be read: it does not exist/],
  ];
  for (const [what, damage, says] of damages)
    it(`${what}: nothing is taken, and the error says so`, async () => {
      await damage();
      expect(await take(at('built'))).to.match(says);
    });

  for (const suffix of ['.tar', '.tar.gz'])
    it(`is taken from a ${suffix} file that is what its hash says`, async () => {
      const file = at(`guest${suffix}`);
      const hash = await packPrebuilt(file, at('built'), [name]);
      expect(await packPrebuilt(file, at('built'), [name])).to.equal(hash);
      expect(await take(file)).to.equal('');
      expect(await take(`${file}#sha256=${hash}`)).to.equal('');
      expect(await take(`${file}#sha256=${'0'.repeat(64)}`)).to.match(/is not what its hash says/);
      await rm(`${file}.sha256`);
      expect(await take(file)).to.match(/not taken without its hash/);
      await writeFile(file, (await readFile(file)).subarray(0, 600));
      expect(await take(`${file}#sha256=${hash}`)).to.match(/is not what its hash says/);
    });

  it('is taken from a file with more behind its end than tar reads', async () => {
    await packPrebuilt(at('guest.tar'), at('built'), [name]);
    const bytes = Buffer.concat([await readFile(at('guest.tar')), Buffer.alloc(8 << 20)]);
    for (const [file, content] of Object.entries({ 'long.tar': bytes, 'long.tar.gz': gzipSync(bytes, { level: 1 }) })) {
      await writeFile(at(file), content);
      const hash = createHash('sha256').update(content).digest('hex');
      expect(await take(`${at(file)}#sha256=${hash}`)).to.equal('');
    }
  });

  it('that is no archive at all is said so', async () => {
    for (const [n, bytes] of [Buffer.from('words'), Buffer.of(0x1f, 0x8b, 0), Buffer.alloc(0)].entries()) {
      await writeFile(at(`${n}.tar`), bytes);
      const hash = createHash('sha256').update(bytes).digest('hex');
      expect(await take(`${at(`${n}.tar`)}#sha256=${hash}`)).to.match(/can't be unpacked|has no guest image/);
    }
  });

  it('is fetched from a server, and what was fetched is not kept beside it', async () => {
    await packPrebuilt(at('guest.tar.gz'), at('built'), [name]);
    const bytes = await readFile(at('guest.tar.gz'));
    const server = await ImageServer.start(
      new Map<string, Uint8Array>([
        ['guest.tar.gz', bytes],
        ['guest.tar.gz.sha256', await readFile(at('guest.tar.gz.sha256'))],
        ['short.tar.gz', bytes.subarray(0, 100)],
        ['short.tar.gz.sha256', await readFile(at('guest.tar.gz.sha256'))],
      ]),
    );
    try {
      expect(await take(server.url('guest.tar.gz').href)).to.equal('');
      expect(server.log).to.deep.equal(['guest.tar.gz.sha256', 'guest.tar.gz']);
      expect(await take(server.url('short.tar.gz').href)).to.match(/not what its hash says/);
      expect(await take(server.url('none.tar.gz').href)).to.match(/can't be fetched: .* 404/);
      server.answer = (_, response) => {
        response.writeHead(200, { 'content-length': 1000 }).write('a');
        setImmediate(() => response.destroy());
        return true;
      };
      expect(await take(`${server.url('guest.tar.gz').href}#sha256=${'0'.repeat(64)}`)).to.match(/can't be fetched/);
    } finally {
      await server.stop();
    }
  });

  it('is not asked for where there is one already', async () => {
    await cp(at('built'), at('cache'), { recursive: true });
    process.env['V86_VIRTIOFS_GUEST'] = at('none');
    expect((await ensureGuestImage()).release).to.equal(real.release);
  });

  it('without one, and without apt, the error says where there is one', async () => {
    process.env['PATH'] = at('nothing');
    expect(await ensureGuestImage().catch((error: Error) => error.message)).to.match(
      /has no apt-get, apt-cache, dpkg, dpkg-deb\.\n[\s\S]*V86_VIRTIOFS_GUEST names its file v86-virtiofs-guest\.tar\.gz/,
    );
  });
});
