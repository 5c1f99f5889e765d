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
    throw new MigrationError('the other side does not speak the migration protocol');
  if (version !== VERSION)
    throw new MigrationError(
      `the other side speaks version ${version} of the protocol, and this one ${VERSION}: use the same release on both sides`,
    );
  if (hello.length !== LENGTH) throw new MigrationError("the other side's greeting is damaged");
  if (hello[CALLER_AT] === Number(isCaller))
    throw new MigrationError(
      isCaller
        ? 'both sides are calling: one of them has to wait'
        : 'both sides are waiting to be called: one of them has to call',
    );
  if (hello[ROLE_AT] === ROLES.indexOf(ownRole))
    throw new MigrationError(
      ownRole === 'source'
        ? 'both sides have a machine to move: one of them has to take it over'
        : 'both sides are waiting for a machine: one of them has to move its own',
    );
}
