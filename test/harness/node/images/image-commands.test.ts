import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { findContainerImage } from '../../../../harness/node/shares/container-image.ts';
import { useCli } from '../../../support/cli.ts';
import { rawTar } from '../../../support/tar.ts';

describe('v86-virtiofs image', function () {
  this.timeout(120_000);
  const { run } = useCli();
  let place: string;
  beforeEach(() => (place = mkdtempSync(join(tmpdir(), 'image-'))));
  afterEach(() => rmSync(place, { recursive: true, force: true }));

  const put = (name: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(place, name)), { recursive: true });
    writeFileSync(join(place, name), content);
  };
  const image = async (...args: string[]) => {
    const result = await run(['image', ...args], { env: { SOURCE_DATE_EPOCH: '1600000000' } });
    expect(result.code, result.stderr).to.equal(0);
    return result.stdout;
  };
  const list = async (file: string) =>
    (JSON.parse(await image('ls', '--json', file)) as { path: string }[]).map(({ path }) => path);

  it('builds, shows and compares images of directories', async () => {
    put('root/etc/motd', 'hello\n');
    put('root/big', new Uint8Array(200_000).fill(3));
    const [first, second] = [join(place, 'a/one.image'), join(place, 'b/one.image')];
    const built = JSON.parse(await image('build', '--json', join(place, 'root'), first)) as Record<string, unknown>;
    expect(built).to.deep.include({ inodes: 4, bytes: 200_006, skipped: [] });
    await image('build', join(place, 'root'), second);
    const contents = (directory: string) =>
      readdirSync(join(place, directory)).map((name) => [name, readFileSync(join(place, directory, name), 'latin1')]);
    expect(contents('a')).to.deep.equal(contents('b'));
    expect(await image('ls', first, 'etc')).to.match(/^drwx.* \/etc\n-rw.* 6 2020-09-13T12:26:40 \/etc\/motd\n$/);
    expect(JSON.parse(await image('inspect', '--json', first))).to.deep.include({
      id: built['id'],
      name: 'one',
      inodes: 4,
    });
    put('root/etc/motd', 'hello!');
    put('root/new', '');
    await image('build', join(place, 'root'), second);
    expect(await image('diff', first, second)).to.equal('+ /new\n~ /etc/motd  (content)\n');
    expect(await image('diff', first, first)).to.equal('');
  });

  it('makes an image without what can not be taken, says what that is, and ends with 1', async () => {
    put('root/file', 'hello\n');
    const socket = createServer();
    await new Promise<void>((resolve) => socket.listen(join(place, 'root/socket'), resolve));
    const file = join(place, 'one.image');
    const { code, stdout, stderr } = await run(['image', 'build', '--json', join(place, 'root'), file]);
    socket.close();
    expect(code).to.equal(1);
    expect(stderr).to.match(/not taken from .*root: socket: /);
    expect((JSON.parse(stdout) as { skipped: object[] }).skipped).to.have.length(1);
    expect(await list(file)).to.deep.equal(['/', '/file']);
  });

  it('finds what is damaged', async () => {
    put(
      'root/big',
      new Uint8Array(200_000).map((_, n) => (n * 2654435761) >>> 24),
    );
    const file = join(place, 'out/one.image');
    await image('build', join(place, 'root'), file);
    await image('verify', file);
    const pack = join(place, 'out', readdirSync(join(place, 'out')).find((name) => name.endsWith('.pack'))!);
    const bytes = readFileSync(pack);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(pack, bytes);
    const damaged = await run(['image', 'verify', '--json', file]);
    expect(damaged.code).to.equal(125);
    expect(damaged.stderr).to.include('1 of 4 chunks are not what they should be');
    expect(JSON.parse(damaged.stdout)).to.include({ chunks: 4, damaged: 1 });
    writeFileSync(pack, bytes.subarray(0, bytes.length >> 1));
    const short = await run(['image', 'verify', file]);
    expect(short.code).to.equal(125);
    expect(short.stderr).to.include('is shorter than the image says: copy it again');
    rmSync(pack);
    expect((await run(['image', 'verify', file])).stderr).to.include('4 of 4 chunks');
    writeFileSync(file, readFileSync(file).subarray(0, 200));
    expect((await run(['image', 'inspect', file])).stderr).to.include('is truncated');
  });

  it('refuses what it can not make, before anything is written', async () => {
    put('root/file', '');
    const attempt = async (args: string[], what: string, env = {}) => {
      const { code, stderr } = await run(['image', 'build', ...args], { env });
      expect({ code, stderr }).to.have.property('stderr').that.includes(what);
      expect(code).to.equal(125);
    };
    const root = join(place, 'root');
    await attempt([root, join(place, 'a.tar')], 'its name has to end in .image');
    await attempt([join(place, 'none'), join(place, 'a.image')], 'does not exist');
    await attempt([root, join(place, 'a.image')], 'SOURCE_DATE_EPOCH is "soon"', { SOURCE_DATE_EPOCH: 'soon' });
    await attempt([root, join(place, 'a.image'), '--pack-size', '64'], 'from 1 to 32');
    expect(readdirSync(place)).to.deep.equal(['root']);
  });

  describe('of container images', () => {
    const layers = [
      rawTar([
        { name: 'etc/', type: '5', mode: 0o755 },
        { name: 'etc/passwd', body: 'root\n', records: [['SCHILY.xattr.user.kept', 'yes']] },
        { name: 'etc/old', body: 'old' },
        { name: 'opt/', type: '5', mode: 0o755 },
        { name: 'opt/below', body: 'below' },
        { name: 'srv/tree/deep/file', body: 'x' },
        { name: 'linked', type: '1', linkname: 'etc/passwd' },
      ]),
      rawTar([
        { name: 'opt/above', body: 'above' },
        { name: 'opt/.wh..wh..opq' },
        { name: 'etc/.wh.old' },
        { name: 'etc/.wh.never' },
        { name: 'etc/.wh...' },
        { name: 'srv/tree', body: 'a file now' },
        { name: 'new', type: '1', linkname: 'etc/passwd' },
      ]),
    ];
    const expected = ['/', '/etc', '/linked', '/new', '/opt', '/srv', '/etc/passwd', '/opt/above', '/srv/tree'];
    const digest = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
    const blob = (bytes: Uint8Array | string) => {
      put(`oci/blobs/sha256/${digest(bytes)}`, bytes);
      return { digest: `sha256:${digest(bytes)}`, size: bytes.length };
    };
    const layout = (architecture = '386') => {
      const config = blob(JSON.stringify({ architecture, os: 'linux' }));
      const manifest = blob(
        JSON.stringify({
          config,
          layers: layers.map((bytes, n) => ({
            mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
            ...blob(n ? gzipSync(bytes) : bytes),
          })),
        }),
      );
      put('oci/oci-layout', '{"imageLayoutVersion":"1.0.0"}');
      const index = blob(JSON.stringify({ manifests: [{ ...manifest, platform: { architecture, os: 'linux' } }] }));
      put('oci/index.json', JSON.stringify({ manifests: [index] }));
    };

    it('takes OCI layouts, in directories and archives', async () => {
      layout();
      await image('build', join(place, 'oci'), join(place, 'a/one.image'));
      expect((await list(join(place, 'a/one.image'))).sort()).to.deep.equal([...expected].sort());
      const entries = JSON.parse(await image('ls', '--json', join(place, 'a/one.image'), 'etc/passwd')) as object[];
      expect(entries[0]).to.deep.include({ nlink: 3, xattrs: [['user.kept', '796573']] });
      execFileSync('tar', ['-cf', join(place, 'oci.tar'), '-C', join(place, 'oci'), '.']);
      await image('build', join(place, 'oci.tar'), join(place, 'b/one.image'));
      expect(await image('diff', join(place, 'a/one.image'), join(place, 'b/one.image'))).to.equal('');
    });

    it('takes what `docker save` writes', async () => {
      put('saved/abc.json', JSON.stringify({ architecture: 'amd64' }));
      layers.forEach((bytes, n) => put(`saved/${n}/layer.tar`, bytes));
      put('saved/manifest.json', JSON.stringify([{ Config: 'abc.json', Layers: ['0/layer.tar', '1/layer.tar'] }]));
      execFileSync('tar', [
        '-cf',
        join(place, 'saved.tar'),
        '-C',
        join(place, 'saved'),
        'abc.json',
        '0',
        '1',
        'manifest.json',
      ]);
      const { stderr, code } = await run(['image', 'build', join(place, 'saved.tar'), join(place, 'a/one.image')]);
      expect(code).to.equal(0);
      expect(stderr).to.include('its programs are for amd64');
      expect((await list(join(place, 'a/one.image'))).sort()).to.deep.equal([...expected].sort());
    });

    it('takes other trees for what they are, whatever their files are called', async () => {
      put('oci-app/index.json', '{}');
      put('pwa/manifest.json', '{"name":"app"}');
      put('lists/manifest.json', '[{"name":"one"}]');
      put('broken/manifest.json', '{');
      for (const name of ['oci-app', 'pwa', 'lists', 'broken']) {
        execFileSync('tar', ['-cf', join(place, `${name}.tar`), '-C', join(place, name), '.']);
        for (const source of [name, `${name}.tar`])
          expect(await findContainerImage(join(place, source)), source).to.equal(undefined);
      }
      await image('build', join(place, 'pwa'), join(place, 'a/one.image'));
      expect(await list(join(place, 'a/one.image'))).to.deep.equal(['/', '/manifest.json']);
    });

    it('takes one that has several names, and refuses several', async () => {
      layout();
      const index = JSON.parse(readFileSync(join(place, 'oci/index.json'), 'utf8')) as { manifests: object[] };
      const [first] = index.manifests;
      put('oci/index.json', JSON.stringify({ manifests: [first, { ...first, annotations: { name: 'latest' } }] }));
      await image('build', join(place, 'oci'), join(place, 'a/one.image'));
      put('oci/index.json', JSON.stringify({ manifests: [first, { ...first, ...blob('{}') }] }));
      const { stderr, code } = await run(['image', 'build', join(place, 'oci'), join(place, 'a/one.image')]);
      expect(code).to.equal(125);
      expect(stderr).to.include('it has several images, which no platform tells apart: save one');
    });

    it('refuses layers that are not what their digests say', async () => {
      layout();
      put(`oci/blobs/sha256/${digest(layers[0]!)}`, rawTar([]));
      const { stderr, code } = await run(['image', 'build', join(place, 'oci'), join(place, 'a/one.image')]);
      expect(code).to.equal(125);
      expect(stderr).to.include('is damaged: copy it again');
    });
  });
});
