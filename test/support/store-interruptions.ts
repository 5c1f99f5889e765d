import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotError, SnapshotStore } from '../../device/index.ts';
import { ObjectCache } from '../../harness/node/stores/object-cache.ts';
import { placeOf } from '../../harness/node/stores/open-files.ts';
import { S3Store } from '../../harness/node/stores/s3-store.ts';
import { BucketProxy, type Fate } from './bucket-proxy.ts';
import type { RadosGateway } from './rados-gateway.ts';
import { adder, addSnapshot, contentOf } from './small-snapshots.ts';
import { sharedGateway } from './store-kinds.ts';

const HOUR = 3_600_000;

/** Nothing in it is damaged. */
export async function verifyAll(store: SnapshotStore): Promise<void> {
  expect(store.damaged()).to.deep.equal([]);
  for (const { id } of store.list()) await store.verify(id);
}

/** What becomes of a store in a bucket when its process ends, stops, or loses its connection: at every `step`th request. */
export function describeInterruptions(step: number): void {
  describe('a store in a bucket, interrupted', function () {
    this.timeout(300_000);
    let server: RadosGateway;
    let proxy: BucketProxy;
    let bucket: string;
    before(async () => {
      server = await sharedGateway();
      proxy = await BucketProxy.start(server.endpoint);
    });
    after(() => proxy.stop());
    beforeEach(async () => {
      bucket = await server.bucket();
      proxy.decide = () => 'pass';
    });
    afterEach(() => {
      delete process.env['AWS_MAX_ATTEMPTS'];
    });

    const filesAt = (endpoint: string) => {
      const location = server.location(bucket, 'store', endpoint);
      return new S3Store(location, placeOf(location), new ObjectCache(new MemoryStore()));
    };
    const files = () => filesAt(server.endpoint);
    const open = (store = files()) => SnapshotStore.open(store, loadCodec());

    /** What is to be done. `done`: what is, names by ids; `removing`: what may be gone. */
    const work = async (store: SnapshotStore, done: Map<string, string>, removing: Set<string>) => {
      const add = adder(store, done);
      const a = await add('a', [1, 2]);
      const b = await add('b', [2, 3]);
      done.delete(b);
      await store.rename(b, 'renamed');
      done.set(b, 'renamed');
      removing.add(a);
      await store.remove(a);
      await add('c', [1, 3]);
      await store.gc();
    };

    for (const way of ['cut', 'cut after'] as const)
      it(`keeps what was said to be done when its process ends ${way === 'cut' ? 'before' : 'after'} a request`, async () => {
        // A process that has ended does not try again.
        process.env['AWS_MAX_ATTEMPTS'] = '1';
        let at = 0;
        for (; ; at += step) {
          bucket = await server.bucket();
          const first = proxy.requests.length;
          proxy.decide = ({ number }) => (number - first < at ? 'pass' : number - first === at ? way : 'cut');
          const [done, removing] = [new Map<string, string>(), new Set<string>()];
          const error = await open(filesAt(proxy.endpoint))
            .then((store) => work(store, done, removing))
            .catch((caught: Error) => caught);
          const left = await open();
          await verifyAll(left);
          for (const [id, name] of done)
            if (!removing.has(id)) expect(left.info(id).name, `request ${at}`).to.equal(name);
          await addSnapshot(left, 'after', [contentOf(1)]);
          await left.gc();
          await files().removeLeftovers(Date.now() + 2 * HOUR);
          await verifyAll(await open());
          if (!error) break;
          expect(error, error.stack).to.be.instanceOf(SnapshotError);
        }
        expect(at).to.be.greaterThan(20);
      });

    for (const fate of ['cut', 'cut after', 'cut within'] as const)
      it(`does all it is asked for when each request is ${fate} once`, async () => {
        const [done, removing] = [new Map<string, string>(), new Set<string>()];
        let cuts = 0;
        let last = '';
        proxy.decide = ({ method, url }): Fate => {
          const request = `${method} ${url}`;
          const isFirst = request !== last;
          last = isFirst ? request : '';
          if (isFirst) cuts++;
          return isFirst ? fate : 'pass';
        };
        await work(await open(filesAt(proxy.endpoint)), done, removing);
        const left = await open();
        await verifyAll(left);
        expect(left.list().map(({ name }) => name)).to.have.members(['renamed', 'c']);
        expect(cuts).to.be.greaterThan(20);
      });

    it('whoever stops, and comes back when others have removed what it built on, breaks nothing', async () => {
      for (let at = 0; ; at += step) {
        bucket = await server.bucket();
        const direct = await open();
        const base = await addSnapshot(direct, 'base', [contentOf(1), contentOf(2)]);
        const first = proxy.requests.length;
        let goOn: (() => void) | undefined;
        const stopped = new Promise<void>((resolve) => {
          proxy.decide = async ({ number }): Promise<Fate> => {
            if (number - first === at)
              await new Promise<void>((go) => {
                goOn = go;
                resolve();
              });
            return 'pass';
          };
        });
        const adding = (async () => {
          const store = await open(filesAt(proxy.endpoint));
          const id = await addSnapshot(store, 'late', [contentOf(2), contentOf(3)]);
          await store.rename(id, 'later');
          return id;
        })();
        await Promise.race([stopped, adding]);
        if (goOn) {
          await direct.remove(base);
          await direct.gc();
          await files().removeLeftovers(Date.now() + 2 * HOUR);
          await addSnapshot(direct, 'other', [contentOf(9)]);
          goOn();
        }
        const id = await adding;
        const left = await open();
        await verifyAll(left);
        expect(left.info(id).name).to.equal('later');
        await files().removeLeftovers(Date.now() + 2 * HOUR);
        await verifyAll(await open());
        if (!goOn) break;
      }
    });
  });
}
