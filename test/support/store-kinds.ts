import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { placeOf } from '../../harness/node/stores/open-files.ts';
import { CREDENTIALS, RadosGateway } from './rados-gateway.ts';

let gateway: Promise<RadosGateway> | undefined;

/** The server of objects of this process, with its credentials in the environment, and no others. */
export function sharedGateway(): Promise<RadosGateway> {
  Object.assign(process.env, CREDENTIALS, {
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  });
  return (gateway ??= RadosGateway.start());
}

/** Where snapshots can be kept by several processes. */
export interface StoreKind {
  kind: string;
  /** Returns the name of a new store, as `openFiles` takes it. */
  make(): Promise<string>;
  /** Names of all that is there, used or not, sorted. */
  everything(location: string): Promise<string[]>;
  remove(location: string): Promise<void>;
}

const DIRECTORY: StoreKind = {
  kind: 'a directory',
  make: () => mkdtemp(join(tmpdir(), 'store-')),
  everything: async (location) => (await readdir(location)).filter((name) => name !== '.lock').sort(),
  remove: (location) => rm(location, { recursive: true, force: true }),
};

export const BUCKET: StoreKind = {
  kind: 'a bucket',
  async make() {
    const server = await sharedGateway();
    return server.location(await server.bucket());
  },
  async everything(location) {
    const { bucket, prefix } = placeOf(location);
    const client = (await sharedGateway()).client();
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }));
    client.destroy();
    return Contents.map(({ Key }) => /^files\/(.*)\.[0-9a-f]{16}$/.exec(Key!.slice(prefix.length))?.[1] ?? Key!)
      .filter((name) => name !== `${prefix}index.json`)
      .sort();
  },
  // It is in the memory of its server.
  remove: async () => {},
};

export const STORE_KINDS: readonly StoreKind[] = [DIRECTORY, BUCKET];
