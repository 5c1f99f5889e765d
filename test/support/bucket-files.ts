import { DeleteObjectCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { MemoryStore } from '../../device/index.ts';
import { ObjectCache } from '../../harness/node/stores/object-cache.ts';
import { placeOf } from '../../harness/node/stores/open-files.ts';
import { S3Store } from '../../harness/node/stores/s3-store.ts';
import type { PlainFiles } from './store-damages.ts';
import { sharedGateway } from './store-kinds.ts';

/** A store in a bucket of its own, whose objects somebody else changes. What was read of it is not kept for {@link another}. */
class BucketFiles extends S3Store implements PlainFiles {
  readonly #client: S3Client;

  constructor(location: string, client: S3Client) {
    super(location, placeOf(location), new ObjectCache(new MemoryStore()));
    this.#client = client;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    // One that the store does not know gets a name as its objects have it.
    const Key = (await this.#keyOf(name)) ?? `store/files/${name}.0123456789abcdef`;
    await this.#client.send(new PutObjectCommand({ Bucket: this.#bucket, Key, Body: bytes }));
  }

  async drop(name: string): Promise<void> {
    await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: await this.#keyOf(name) }));
  }

  another(): PlainFiles {
    return new BucketFiles(this.location, this.#client);
  }

  get #bucket(): string {
    return placeOf(this.location).bucket;
  }

  async #keyOf(name: string): Promise<string | undefined> {
    const Prefix = `store/files/${name}.`;
    const { Contents = [] } = await this.#client.send(new ListObjectsV2Command({ Bucket: this.#bucket, Prefix }));
    return Contents[0]?.Key;
  }
}

export async function bucketFiles(): Promise<PlainFiles> {
  const server = await sharedGateway();
  return new BucketFiles(server.location(await server.bucket()), server.client());
}
