import { join } from 'node:path';
import { type FileStore, MemoryStore } from '../../../device/index.ts';
import { writableCacheDirectory } from '../../../guest-images/paths.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { DirectoryStore } from './directory-store.ts';
import { ObjectCache } from './object-cache.ts';
import { type S3Place, S3Store } from './s3-store.ts';

const SCHEME = 's3://';
/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and the older names with capitals. */
const BUCKET = /^[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}$/;
const PREFIX = /^[\w!.*'()=/-]{0,500}$/;

/** A store that people give a name for. */
export interface KeptFiles extends FileStore {
  exclusively<T>(action: () => Promise<T>): Promise<T>;
  /** Removes what killed processes have left, as it is at `now`, milliseconds since 1970. Returns the bytes that gave back. */
  removeLeftovers(now?: number): Promise<number>;
}

/** Whether a store is in a bucket, and not in a directory. */
export function isInBucket(location: string): boolean {
  return location.startsWith(SCHEME);
}

/**
 * A store of this name: a directory, or `s3://BUCKET/PREFIX`, with `?endpoint=URL` and `&region=REGION` behind it. Nothing is asked of it yet. What is
 * read of a bucket is kept in the cache directory; `isFresh`: and is not taken from there.
 *
 * @throws VmError `configuration`.
 */
export function openFiles(location: string, { isFresh = false } = {}): KeptFiles {
  if (!isInBucket(location)) return new DirectoryStore(location);
  const cache = isFresh
    ? new ObjectCache(new MemoryStore(), { limit: 0, memory: 0 })
    : new ObjectCache(new DirectoryStore(join(writableCacheDirectory(), 'objects')));
  return new S3Store(location, placeOf(location), cache);
}

/** @throws VmError `configuration`. */
export function placeOf(location: string): S3Place {
  const refuse = (why: string) =>
    new VmError('configuration', printable(`${location} is not the name of a store in a bucket: ${why}`));
  const [, authority = '', path = '', query = ''] = /^s3:\/\/([^/?]*)\/?([^?]*)(?:\?(.*))?$/s.exec(location) ?? [];
  // Names of stores are told in messages and lists of processes.
  if (location.includes('@'))
    throw new VmError(
      'configuration',
      'credentials do not belong into the name of a store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead',
    );
  if (!BUCKET.test(authority)) throw refuse('give s3://BUCKET/PREFIX');
  if (!PREFIX.test(path) || path.split('/').some((word) => word === '.' || word === '..'))
    throw refuse("its prefix can have letters, digits and !-_.*'()=/ only");
  const options = new URLSearchParams(query);
  for (const name of options.keys())
    if (name !== 'endpoint' && name !== 'region')
      throw refuse(`only endpoint and region can stand behind the question mark, not ${name}`);
  const [endpoint, region] = [options.get('endpoint'), options.get('region')];
  if (endpoint !== null) {
    const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    if (!url || !['http:', 'https:'].includes(url.protocol))
      throw refuse('its endpoint has to be an http or https URL');
  }
  if (region !== null && !/^[\w-]{1,50}$/.test(region)) throw refuse('its region is invalid');
  const prefix = path.replace(/\/+$/, '');
  return {
    bucket: authority,
    prefix: prefix && `${prefix}/`,
    ...(endpoint !== null && { endpoint }),
    ...(region !== null && { region }),
  };
}
