import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Estimate } from '../../web/build/estimate.ts';
import { takePrebuilt } from '../../web/build/prebuilt.ts';
import { GUEST_VERSION } from '../../web/protocol/manifest.ts';
import { ImageServer } from '../support/image-server.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('guests of the page that were built before', () => {
  let directory: string;
  let cache: string | undefined;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'prebuilt-'));
    cache = process.env['V86_VIRTIOFS_CACHE'];
    process.env['V86_VIRTIOFS_CACHE'] = join(directory, 'cache');
  });
  afterEach(async () => {
    if (cache === undefined) delete process.env['V86_VIRTIOFS_CACHE'];
    else process.env['V86_VIRTIOFS_CACHE'] = cache;
    await rm(directory, { recursive: true });
  });

  /** One whose files have something in them. */
  async function makeGuest(version = GUEST_VERSION): Promise<string> {
    const guest = join(directory, 'built/debian');
    await mkdir(guest, { recursive: true });
    const file = async (name: string) => {
      const bytes = Buffer.from(`what is in ${name}`);
      const packed = { file: `guest-${sha256(bytes).slice(0, 16)}.${name}.bin`, size: bytes.length, unpackedSize: 1 };
      await writeFile(join(guest, packed.file), bytes);
      return packed;
    };
    const manifest = {
      version,
      snapshot: { ...(await file('layer')), id: 'id' },
      boot: { kernel: await file('vmlinux'), initrd: await file('initrd'), folder: await file('tar') },
      rootBoot: { init: await file('init'), agent: await file('agent') },
      root: { id: 'id', image: 'debian.image' },
      machine: {},
    };
    await writeFile(join(guest, 'debian.image'), 'an image');
    await writeFile(join(guest, 'guest.json'), JSON.stringify(manifest));
    return manifest.snapshot.file;
  }
  const built = () => join(directory, 'built');
  const target = () => join(directory, 'page/debian');
  const take = (location: string) =>
    takePrebuilt(location, 'debian', target(), () => {}).then(
      () => '',
      (error: Error) => error.message,
    );
  async function pack(): Promise<{ tar: string; hash: string }> {
    const tar = join(directory, 'page-guests.tar');
    execFileSync('tar', ['-cf', tar, '-C', built(), 'debian']);
    return { tar, hash: sha256(await readFile(tar)) };
  }

  it('are taken from a directory, when they are whole', async () => {
    const layer = await makeGuest();
    await mkdir(target(), { recursive: true });
    await writeFile(join(target(), 'old'), 'of another one');
    expect(await take(built())).to.equal('');
    expect(await readFile(join(target(), 'debian.image'), 'utf8')).to.equal('an image');
    expect(existsSync(join(target(), 'old'))).to.equal(false);
    await writeFile(join(built(), 'debian', layer), 'something else');
    expect(await take(built())).to.match(/\.layer\.bin in .* is damaged/);
    await rm(join(built(), 'debian', layer));
    expect(await take(built())).to.match(/\.layer\.bin in .* is missing/);
    await makeGuest();
    await rm(join(built(), 'debian/debian.image'));
    expect(await take(built())).to.match(/debian\.image in .* is missing/);
    await makeGuest(1);
    expect(await take(built())).to.match(/is of version 1/);
    await rm(join(built(), 'debian/guest.json'));
    expect(await take(built())).to.match(/guest\.json is missing/);
    // What was there before has stayed.
    expect(await readFile(join(target(), 'debian.image'), 'utf8')).to.equal('an image');
  });

  it('are taken from an archive that is what its hash says', async () => {
    await makeGuest();
    const { tar, hash } = await pack();
    expect(await take(tar)).to.match(/not taken without its hash/);
    expect(await take(`${tar}#sha256=${hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))}`)).to.match(
      /is not what its hash says/,
    );
    expect(existsSync(target())).to.equal(false);
    expect(await take(`${tar}#sha256=${hash}`)).to.equal('');
    await writeFile(`${tar}.sha256`, `${hash}  page-guests.tar\n`);
    expect(await take(tar)).to.equal('');
    expect(await take(`${tar}.missing#sha256=${hash}`)).to.match(/can't be read/);
  });

  it('are fetched once from a server, and compared', async () => {
    await makeGuest();
    const { tar, hash } = await pack();
    const bytes = await readFile(tar);
    const server = await ImageServer.start(
      new Map<string, Uint8Array>([
        ['guests.tar', bytes],
        ['guests.tar.sha256', Buffer.from(`${hash}  guests.tar\n`)],
        ['other.tar', bytes.subarray(0, 1000)],
      ]),
    );
    try {
      expect(await take(server.url('guests.tar').href)).to.equal('');
      expect(await take(`${server.url('guests.tar').href}#sha256=${hash}`)).to.equal('');
      expect(server.log).to.deep.equal(['guests.tar.sha256', 'guests.tar']);
      expect(await take(`${server.url('other.tar').href}#sha256=${'0'.repeat(64)}`)).to.match(/not what its hash says/);
      expect(await take(server.url('other.tar').href)).to.match(/other\.tar\.sha256 can't be fetched: .* 404/);
    } finally {
      await server.stop();
    }
    expect(await take(`${server.url('gone.tar').href}#sha256=${hash.replace(/./, 'f')}`)).to.match(/can't be fetched/);
  });

  it('are built with an estimate of the time that is left', () => {
    let now = 0;
    const told: string[] = [];
    const estimate = new Estimate(
      (message) => told.push(message),
      () => now,
    );
    const part = estimate.part(0.5, 1);
    estimate.part(0, 0.5)('fetching', 0.1);
    now = 50_000;
    estimate.part(0, 0.5)('fetching', 0.12);
    now = 60_000;
    part('packing');
    part('packing');
    now = 90_000;
    part('packing', 0.5);
    part('');
    now = 400_000;
    part('packing', 0.2);
    expect(told).to.deep.equal([
      'fetching: 5 %',
      'fetching: 6 %',
      'packing: 50 %, about 65 s left',
      'packing: 75 %, about 30 s left',
      'packing: 60 %, about 5 min left',
    ]);
  });
});
