import { MigrationError } from './channel.ts';

/** Of the protocol: both sides have to have the same one. */
const VERSION = 2;
const MAGIC = new TextEncoder().encode('v86-virtiofs migration');
const NONCE_LENGTH = 32;
/** Behind the magic: version, role, and whether it has called; then the nonce. Versions from 1 on have their number there. */
const ROLE_AT = MAGIC.length + 1;
const CALLER_AT = ROLE_AT + 1;
const LENGTH = CALLER_AT + 1 + NONCE_LENGTH;
const ROLES = ['source', 'destination'] as const;

export type Role = (typeof ROLES)[number];

/** What a side says first; nothing in it depends on the token. */
export function encodeHello(role: Role, isCaller: boolean): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(
    ...MAGIC,
    VERSION,
    ROLES.indexOf(role),
    Number(isCaller),
    ...crypto.getRandomValues(new Uint8Array(NONCE_LENGTH)),
  );
}

/** Judges what the other side says first. @throws MigrationError when nothing can come of it. */
export function decodeHello(hello: Uint8Array, ownRole: Role, isCaller: boolean): void {
  const version = hello[MAGIC.length];
  if (version === undefined || MAGIC.some((byte, n) => byte !== hello[n]))
    throw new MigrationError('the other side speaks something else than this migration');
  if (version !== VERSION)
    throw new MigrationError(
      `the other side has version ${version} of the protocol, this one ${VERSION}: use the same release on both`,
    );
  if (hello.length !== LENGTH) throw new MigrationError("the other side's greeting is damaged");
  if (hello[CALLER_AT] === Number(isCaller))
    throw new MigrationError(
      isCaller
        ? 'the other side has called too, where one has to wait'
        : 'the other side waits to be called, as this one does',
    );
  if (hello[ROLE_AT] === ROLES.indexOf(ownRole))
    throw new MigrationError(
      ownRole === 'source'
        ? 'the other side has a machine to move as well: one has to take it over'
        : 'the other side has no machine to move: it waits for one too',
    );
}
