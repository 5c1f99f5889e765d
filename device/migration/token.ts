import CRC32 from 'crc-32';
import { MigrationError } from './channel.ts';

/** Bytes of randomness: 136 bits. */
const RANDOM = 17;
const CHECK = 4;

/**
 * A token for both sides of a migration: 136 random bits and a checksum, 28 characters for links, commands and variables.
 *
 * Whoever listens on the wire can try tokens until one fits what was sent. Of these there are too many to try, and others are not taken.
 */
export function makeToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(RANDOM + CHECK));
  bytes.set(checksum(bytes.subarray(0, RANDOM)), RANDOM);
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_');
}

/** @throws MigrationError for what {@link makeToken} has not made, or was not copied whole. */
export function checkToken(token: string): void {
  if (!isToken(token))
    throw new MigrationError(
      'this is not a migration token, or it was not copied completely: make one with `v86-virtiofs token`, or makeToken(), and give both sides the same',
    );
}

function isToken(token: string): boolean {
  if (typeof token !== 'string' || !/^[\w-]{28}$/.test(token)) return false;
  const bytes = Uint8Array.from(atob(token.replaceAll('-', '+').replaceAll('_', '/')), (character) =>
    character.charCodeAt(0),
  );
  return checksum(bytes.subarray(0, RANDOM)).every((byte, n) => byte === bytes[RANDOM + n]);
}

function checksum(bytes: Uint8Array): Uint8Array {
  const value = CRC32.buf(bytes);
  return Uint8Array.of(value >> 24, value >> 16, value >> 8, value);
}
