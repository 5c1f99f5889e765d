import type { S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { SnapshotError } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';

/** Milliseconds until a server has to answer, and for which nothing may come of an answer. */
const CONNECT_TIME = 10_000;
const SILENCE = 60_000;
/** How often an answer may break off, which the client of AWS has given out already. */
const MAX_BREAKS = 3;
/** Removals at once. */
const AT_ONCE = 16;
/** Objects of a listing, a thousand a request. */
const MAX_LISTED = 1_000_000;

/** Where a bucket is. */
export interface BucketPlace {
  bucket: string;
  /** Of a server that is not Amazon's. Default: `AWS_ENDPOINT_URL_S3`, as the client of AWS has it. */
  endpoint?: string;
  /** Default: `AWS_REGION`, or what the configuration files of AWS say. */
  region?: string;
}

/** A server of objects can't be reached, or refuses: what is stored there may be as it should be. */
export class BucketError extends SnapshotError {
  override readonly name = 'BucketError';
  /** What another holds now: it was changed meanwhile, or is there already. */
  readonly isConflict: boolean;
  /** There is no such object. */
  readonly isMissing: boolean;
  /** Whether the server may have done what it was asked for, and may still do so. */
  readonly isOpen: boolean;

  constructor(
    message: string,
    {
      isConflict = false,
      isMissing = false,
      isOpen = false,
      cause,
    }: { isConflict?: boolean; isMissing?: boolean; isOpen?: boolean; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.isConflict = isConflict;
    this.isMissing = isMissing;
    this.isOpen = isOpen;
  }
}

/** An object, or a part of it. */
export interface ObjectPart {
  bytes: Uint8Array;
  /** What tells this content of the object from any other, without quotation marks. */
  etag: string;
}

export interface ListedObject {
  key: string;
  bytes: number;
  /** When it was stored: milliseconds since 1970, by the server's clock. */
  time: number;
}

/** What is done only if the object is as it was: `etag` without quotation marks; '' if it is not there. */
export interface PutCondition {
  etag: string;
  /** As HTTP has it, and Ceph has not. */
  isQuoted?: boolean;
}

type Client = { s3: S3Client; sdk: typeof import('@aws-sdk/client-s3') };

/** Objects of a bucket, by the client of AWS: it finds the credentials, tries again, and limits the time. */
export class Bucket {
  /** For messages. */
  readonly name: string;
  readonly #place: BucketPlace;
  #client: Promise<Client> | undefined;

  constructor(place: BucketPlace) {
    this.#place = place;
    this.name = `s3://${place.bucket}`;
  }

  /**
   * Bytes `from` to `to`, `to` excluded, or fewer where the object is shorter. `etag`: returns undefined while the object is that one.
   *
   * @throws BucketError.
   */
  get(key: string, from: number, to: number): Promise<ObjectPart>;
  get(key: string, from: number, to: number, etag: string | undefined): Promise<ObjectPart | undefined>;
  async get(key: string, from: number, to: number, etag?: string): Promise<ObjectPart | undefined> {
    return this.#ask(`fetch ${key}`, async ({ s3, sdk }) => {
      for (let tries = 1; ; tries++) {
        try {
          const { Body, ETag } = await s3.send(
            new sdk.GetObjectCommand({
              Bucket: this.#place.bucket,
              Key: key,
              Range: `bytes=${from}-${to - 1}`,
              ...(etag && { IfNoneMatch: `"${etag}"` }),
            }),
          );
          return { bytes: await take(Body as AsyncIterable<Uint8Array>, to - from, key), etag: unquoted(ETag) };
        } catch (error) {
          const status = statusOf(error);
          if (status === 304) return undefined;
          if (status === 416) return { bytes: new Uint8Array(0), etag: '' };
          if (!(error instanceof BrokenOff) || tries === MAX_BREAKS) throw error;
        }
      }
    });
  }

  /** Returns the object's etag. @throws BucketError, with `isConflict` when the condition does not hold. */
  put(key: string, body: Uint8Array, condition?: PutCondition): Promise<string> {
    return this.#ask(
      `store ${key}`,
      async ({ s3, sdk }) => {
        const { ETag } = await s3.send(
          new sdk.PutObjectCommand({
            Bucket: this.#place.bucket,
            Key: key,
            Body: body,
            ...(condition && conditionOf(condition)),
          }),
        );
        return unquoted(ETag);
      },
      true,
    );
  }

  /** Objects that are not there are no error. */
  async remove(keys: readonly string[]): Promise<void> {
    const left = [...keys];
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let key = left.pop(); key !== undefined; key = left.pop())
          await this.#ask(
            `remove ${key}`,
            ({ s3, sdk }) => s3.send(new sdk.DeleteObjectCommand({ Bucket: this.#place.bucket, Key: key })),
            true,
          );
      }),
    );
  }

  /** Objects whose keys begin so; `most`: after so many it is enough. */
  async list(prefix: string, most = MAX_LISTED): Promise<ListedObject[]> {
    const found: ListedObject[] = [];
    for (let token: string | undefined, requests = 0; ; requests++) {
      const page = await this.#ask(`list ${prefix}`, ({ s3, sdk }) =>
        s3.send(
          new sdk.ListObjectsV2Command({
            Bucket: this.#place.bucket,
            Prefix: prefix,
            MaxKeys: Math.min(most, 1000),
            ContinuationToken: token,
          }),
        ),
      );
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? [])
        if (Key.startsWith(prefix)) found.push({ key: Key, bytes: Size, time: LastModified?.getTime() ?? Infinity });
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
      if (token === undefined || found.length >= most) return found;
      if (requests * 1000 > MAX_LISTED)
        throw new BucketError(`the listing of ${this.name}/${prefix} does not end: ask who runs the server`);
    }
  }

  async #ask<T>(what: string, action: (client: Client) => Promise<T>, isChange = false): Promise<T> {
    const client = await (this.#client ??= this.#connect());
    try {
      return await action(client);
    } catch (error) {
      throw error instanceof BucketError ? error : this.#errorOf(error as S3ServiceException, what, isChange);
    }
  }

  async #connect(): Promise<Client> {
    const sdk = await import('@aws-sdk/client-s3').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
      throw new VmError(
        'configuration',
        `${this.name} needs the package @aws-sdk/client-s3, which is not installed: run \`npm install @aws-sdk/client-s3\``,
        { cause: error },
      );
    });
    const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION } = process.env;
    const isOther = [this.#place.endpoint, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL].some(Boolean);
    const region = this.#place.region ?? (isOther ? AWS_REGION || AWS_DEFAULT_REGION || 'us-east-1' : undefined);
    return {
      sdk,
      s3: new sdk.S3Client({
        ...(this.#place.endpoint && { endpoint: this.#place.endpoint }),
        ...(region && { region }),
        // Other servers seldom have a name for each bucket.
        forcePathStyle: isOther,
        // Chunks are checked by their hashes, and other servers don't know these.
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
        requestHandler: { connectionTimeout: CONNECT_TIME, socketTimeout: SILENCE },
      }),
    };
  }

  #errorOf(error: S3ServiceException & NodeJS.ErrnoException, what: string, isChange: boolean): BucketError {
    const status = statusOf(error);
    const tell = (why: string, flags = {}) =>
      new BucketError(printable(`can't ${what} in ${this.name}: ${why}`), { ...flags, cause: error });
    switch (error.name) {
      case 'NoSuchBucket':
        return tell('there is no such bucket; make it, or give another');
      case 'NoSuchKey':
        return tell('there is no such object; copy the bucket’s objects again', { isMissing: true });
      case 'InvalidAccessKeyId':
      case 'SignatureDoesNotMatch':
      case 'ExpiredToken':
        return tell(
          `the server does not accept the credentials (${error.name}); look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in again`,
        );
      case 'CredentialsProviderError':
        return tell(
          'there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or log in with the AWS command line',
        );
      case 'RequestTimeTooSkewed':
        return tell('this machine’s clock differs from the server’s; set it');
    }
    if (status === 412 || status === 409)
      return tell('another has changed it meanwhile; try again', { isConflict: true });
    if (status === 403)
      return tell('these credentials may not do that; ask who owns the bucket for that right, or use others');
    if (error.message === 'Region is missing')
      return tell('the region is missing; set AWS_REGION, or give ?region=… behind the store’s name');
    if (status !== undefined && status < 500) return tell(`the server answers ${status} ${error.name}; see its log`);
    return tell(
      `${status ? `the server answers ${status}` : error.message || error.code || error.name}; look at the network and the server, and try again`,
      {
        isOpen: isChange,
      },
    );
  }
}

/** An answer that did not come whole. */
class BrokenOff extends Error {}

/** All that comes, no more than was asked for. */
async function take(body: AsyncIterable<Uint8Array>, most: number, key: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const part of body) {
      parts.push(part);
      length += part.length;
      if (length > most)
        throw new BucketError(`the server sends more of ${key} than the ${most} bytes that it was asked for`);
    }
  } catch (error) {
    throw error instanceof BucketError ? error : new BrokenOff((error as Error).message, { cause: error });
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

function conditionOf({ etag, isQuoted }: PutCondition): { IfMatch: string } | { IfNoneMatch: string } {
  if (!etag) return { IfNoneMatch: '*' };
  return { IfMatch: isQuoted ? `"${etag}"` : etag };
}

function unquoted(etag = ''): string {
  return etag.replace(/^(W\/)?"|"$/g, '');
}

function statusOf(error: unknown): number | undefined {
  return (error as Partial<S3ServiceException>).$metadata?.httpStatusCode;
}
