import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotError, SnapshotStore } from '../../../../device/index.ts';
import { BucketError } from '../../../../harness/node/stores/bucket.ts';
import { ObjectCache } from '../../../../harness/node/stores/object-cache.ts';
import { placeOf } from '../../../../harness/node/stores/open-files.ts';
import { S3Store } from '../../../../harness/node/stores/s3-store.ts';
import { BucketProxy } from '../../../support/bucket-proxy.ts';
import type { RadosGateway } from '../../../support/rados-gateway.ts';
import { addSnapshot, contentOf } from '../../../support/small-snapshots.ts';
import { describeInterruptions, verifyAll } from '../../../support/store-interruptions.ts';
import { sharedGateway } from '../../../support/store-kinds.ts';

const HOUR = 3_600_000;

describe('a store in a bucket, when something is wrong', function () {
  this.timeout(120_000);
  let server: RadosGateway;
  let proxy: BucketProxy;
  let client: S3Client;
  let bucket: string;
  let cached: MemoryStore;
  before(async function () {
    this.timeout(300_000);
    server = await sharedGateway();
    client = server.client();
    proxy = await BucketProxy.start(server.endpoint);
  });
  after(() => proxy.stop());
  beforeEach(async () => {
    bucket = await server.bucket();
    cached = new MemoryStore();
    proxy.decide = () => 'pass';
    proxy.requests.length = 0;
  });

  /** Past the proxy, and with nothing in its cache. */
  const files = (location = server.location(bucket)) =>
    new S3Store(location, placeOf(location), new ObjectCache(new MemoryStore()));
  /** Through the proxy. */
  const watched = (cache = cached) => {
    const location = server.location(bucket, 'store', proxy.endpoint);
    return new S3Store(location, placeOf(location), new ObjectCache(cache));
  };
  const open = (store = files()) => SnapshotStore.open(store, loadCodec());
  const objects = async () => {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
    return Contents.map(({ Key }) => Key!).sort();
  };
  const objectOf = async (id: string) => (await objects()).find((key) => key.includes(id))!;
  const read = async (Key: string) =>
    (await client.send(new GetObjectCommand({ Bucket: bucket, Key }))).Body!.transformToByteArray();
  const write = (Key: string, Body: Uint8Array | string) =>
    client.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
  const attempt = <T>(action: Promise<T>): Promise<Error | T> => action.catch((error: Error) => error);
  it('a damaged object costs the snapshots that need it, and nothing else', async () => {
    const damages: Record<string, (key: string) => Promise<unknown>> = {
      'a flipped byte': async (key) => {
        const bytes = await read(key);
        bytes[bytes.length - 1]! ^= 1;
        await write(key, bytes);
      },
      'a cut': async (key) => write(key, (await read(key)).subarray(0, 100)),
      'nothing in it': (key) => write(key, new Uint8Array(0)),
      'something else': (key) => write(key, '<!DOCTYPE html>'.repeat(2000)),
      'no object': (key) => client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key })),
    };
    for (const [name, damage] of Object.entries(damages)) {
      bucket = await server.bucket();
      const store = await open();
      const alone = await addSnapshot(store, 'alone', [contentOf(1)]);
      const base = await addSnapshot(store, 'base', [contentOf(2)]);
      const above = await addSnapshot(store, 'above', [contentOf(2), contentOf(3)]);
      const key = await objectOf(base);
      const original = await read(key);
      await damage(key);
      const found = await open();
      await found.verify(alone);
      for (const id of [base, above]) expect(await attempt(found.verify(id)), name).to.be.instanceOf(SnapshotError);
      const fresh = await addSnapshot(found, 'fresh', [contentOf(2), contentOf(4)]);
      await found.gc();
      await found.verify(fresh);
      await write(key, original);
      await verifyAll(await open());
    }
  });

  it('what is damaged in the cache is fetched again, and what is whole is not', async () => {
    const writer = await open();
    const id = await addSnapshot(writer, 'a', [contentOf(1), contentOf(2)]);
    const first = watched();
    await (await open(first)).verify(id);
    await first.settle();
    const gets = () => proxy.requests.filter(({ method, url }) => method === 'GET' && url.includes('/files/')).length;
    const before = gets();
    expect(before).to.be.greaterThan(0);
    await (await open(watched())).verify(id);
    expect(gets()).to.equal(before);
    for (const name of await cached.list()) {
      const bytes = (await cached.read(name, 0)).slice();
      bytes[Math.floor(bytes.length / 2)]! ^= 1;
      await cached.write(name, [bytes]);
    }
    await (await open(watched())).verify(id);
    expect(gets()).to.be.greaterThan(before);
    await verifyAll(await open());
  });

  it('an index that is gone or damaged is not taken for an empty store', async () => {
    const id = await addSnapshot(await open(), 'a', [contentOf(1)]);
    const index = await read('store/index.json');
    interface Index {
      version: number;
      changes: string[];
      files?: Record<string, Record<'object' | 'length' | 'etag', unknown>>;
    }
    const change = (edit: (value: Required<Index>) => void) => {
      const value = JSON.parse(Buffer.from(index).toString()) as Required<Index>;
      edit(value);
      return JSON.stringify(value);
    };
    const name = `${id}.layer`;
    const bad: [string, string | undefined, RegExp][] = [
      ['gone', undefined, /index of s3:.* is gone, and its objects are still there/],
      ['empty', ' ', /is damaged \(it is not JSON\)/],
      ['html', '<html>', /is damaged/],
      ['null', 'null', /is damaged/],
      ['newer', change((value) => (value.version = 2)), /has version 2.*use a newer release/],
      ['no files', change((value) => delete (value as Index).files), /is damaged \(files\)/],
      ['a path', change(({ files }) => (files['../x.layer'] = files[name]!)), /is damaged/],
      [
        'an object elsewhere',
        change(({ files }) => (files[name]!.object = '../other/x.0123456789abcdef')),
        /is damaged/,
      ],
      ['an object twice', change(({ files }) => (files['b.layer'] = files[name]!)), /is damaged/],
      ['a length', change(({ files }) => (files[name]!.length = 1e300)), /is damaged/],
      ['an etag', change(({ files }) => (files[name]!.etag = 'a\r\nb')), /is damaged/],
      ['changes', change((value) => (value.changes = ['x'])), /is damaged/],
    ];
    for (const [what, text, expected] of bad) {
      if (text === undefined) await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: 'store/index.json' }));
      else await write('store/index.json', text);
      for (const action of [
        () => open() as Promise<unknown>,
        () => files().removeLeftovers(Date.now() + 2 * HOUR),
        () => files().write('x.layer', []),
      ])
        expect(await attempt(action()), what)
          .to.be.instanceOf(SnapshotError)
          .with.property('message')
          .that.matches(expected);
    }
    await write('store/index.json', index);
    await (await open()).verify(id);
  });

  it('objects of others beside it stay', async () => {
    const others = [
      'store/files/photo.jpg',
      'store/files/x/a.layer.0123456789abcdef',
      'store2/files/a.layer.0123456789abcdef',
      'notes',
    ];
    await addSnapshot(await open(), 'a', [contentOf(1)]);
    for (const key of others) await write(key, 'x');
    await write('store/files/a.layer.0123456789abcdef', 'left by a process that was killed');
    expect(await files().removeLeftovers()).to.equal(0);
    expect(await files().removeLeftovers(Date.now() + 2 * HOUR)).to.equal(33);
    expect(await objects()).to.include.members(others);
    await verifyAll(await open());
  });

  it('who has added something while others added and removed begins again', async () => {
    const [one, other] = [files(), files()];
    await one.list();
    let times = 0;
    await one.exclusively(async () => {
      const seen = await one.list();
      if (times++ === 0) {
        await other.write('1', []);
        await other.exclusively(async () => {
          await other.write('2', []);
          await other.remove('1');
        });
      }
      await one.write(String(Number(seen[0] ?? 0) + 1), []);
    });
    expect(times).to.equal(2);
    expect((await files().list()).sort()).to.deep.equal(['2', '3']);
  });

  it('a server that says more than it was asked for is given up', async () => {
    const index = `{"format":"v86-virtiofs store","version":1,"changes":[],"removed":"","files":{"a.layer":${JSON.stringify({ object: `a.layer.${'0'.repeat(16)}`, length: 100, etag: 'x' })}}}`;
    let listings = 0;
    const answer: RequestListener = ({ url = '' }, response) => {
      response.setHeader('ETag', '"x"');
      if (url.includes('list-type=2')) {
        listings++;
        return response.end(
          `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>${listings}</NextContinuationToken></ListBucketResult>`,
        );
      }
      if (url.includes('index.json')) return response.end(index);
      const more = () => response.destroyed || (response.write(Buffer.alloc(1 << 16)) && setImmediate(more));
      response.on('drain', more);
      more();
    };
    const hostile = createServer(answer).listen(0, '127.0.0.1');
    await once(hostile, 'listening');
    try {
      const store = files(
        server.location(bucket, 'store', `http://127.0.0.1:${(hostile.address() as AddressInfo).port}`),
      );
      expect(await attempt(store.read('a.layer', 0)))
        .to.be.instanceOf(BucketError)
        .with.property('message')
        .that.matches(/more of store\/files\/a\.layer.* than the 100 bytes/);
      expect(await attempt(store.removeLeftovers()))
        .to.be.instanceOf(BucketError)
        .with.property('message')
        .that.matches(/does not end/);
      expect(listings).to.be.below(1100);
    } finally {
      hostile.closeAllConnections();
      hostile.close();
    }
  });

  it('a server that knows no conditional writes is refused, before anything is stored', async () => {
    for (const header of ['if-match', 'if-none-match']) {
      proxy.decide = ({ method, headers }) => (method === 'PUT' && headers[header] ? 'accept' : 'pass');
      expect(await attempt(watched().write('a.layer', [])))
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.matches(/does not know conditional writes/);
    }
    expect(await objects()).to.deep.equal([]);
  });

  it('tells what is wrong, and what to do', async () => {
    const problem = async (location: string, environment: Record<string, string | undefined> = {}) => {
      const before = { ...process.env };
      for (const [name, value] of Object.entries(environment))
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      try {
        return await attempt(files(location).list());
      } finally {
        Object.assign(process.env, before);
      }
    };
    const here = server.location(bucket);
    const cases: [string, Record<string, string | undefined>, RegExp][] = [
      [server.location('no-such-bucket'), {}, /no such bucket; make it/],
      [
        here,
        { AWS_SECRET_ACCESS_KEY: 'wrong' },
        /does not accept the credentials \(SignatureDoesNotMatch\); look at AWS_/,
      ],
      [here, { AWS_ACCESS_KEY_ID: 'nobody' }, /does not accept the credentials \(InvalidAccessKeyId\)/],
      [
        here,
        { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
        /there are no credentials; set AWS_ACCESS_KEY_ID/,
      ],
      [server.location(bucket, 'store', 'http://127.0.0.1:1'), {}, /ECONNREFUSED.*look at the network/],
      [
        's3://bucket/store',
        { AWS_REGION: undefined, AWS_ENDPOINT_URL_S3: undefined },
        /the region is missing; set AWS_REGION/,
      ],
    ];
    for (const [location, environment, expected] of cases)
      expect(await problem(location, environment))
        .to.be.instanceOf(BucketError)
        .with.property('message')
        .that.matches(expected);
  });

  it('has the endpoint from the variable of AWS too', async () => {
    process.env['AWS_ENDPOINT_URL_S3'] = server.endpoint;
    try {
      const location = `s3://${bucket}/store`;
      await files(location).write('a.layer', [Uint8Array.of(1)]);
      expect(await files().list()).to.deep.equal(['a.layer']);
    } finally {
      delete process.env['AWS_ENDPOINT_URL_S3'];
    }
  });
});

describeInterruptions(11);

describe('the name of a store in a bucket', () => {
  it('has a bucket, a prefix, and where it is', () => {
    expect(placeOf('s3://bucket')).to.deep.equal({ bucket: 'bucket', prefix: '' });
    expect(placeOf('s3://bucket/a/b/?region=eu-west-1&endpoint=http://localhost:9000')).to.deep.equal({
      bucket: 'bucket',
      prefix: 'a/b/',
      endpoint: 'http://localhost:9000',
      region: 'eu-west-1',
    });
  });

  for (const [name, expected] of [
    ['s3://', /give s3:\/\/BUCKET/],
    ['s3://key:secret@bucket/prefix', /credentials do not belong/],
    ['s3://bucket/../other', /prefix/],
    ['s3://bucket/a?secret=x', /only endpoint and region/],
    ['s3://bucket/a?endpoint=ftp://x', /endpoint has to be/],
    ['s3://bucket/a?endpoint=http://key:secret@x', /credentials do not belong/],
    ['s3://bucket/a?region=../x', /region is invalid/],
  ] as const)
    it(`is refused: ${name}`, () => {
      expect(() => placeOf(name))
        .to.throw(expected)
        .with.property('message')
        .that.does.not.include('secret@');
    });
});
