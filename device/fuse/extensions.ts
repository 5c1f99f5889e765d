import { copyOf } from '../bytes.ts';
import { XATTR_NAME_MAX } from '../fs/constants.ts';
import { EINVAL, FsError } from '../fs/errno.ts';
import { decodeName } from '../fs/names.ts';
import type { Call } from './call.ts';
import { FUSE_MAX_NR_SECCTX, FUSE_SECURITY_CTX } from './constants.ts';
import { fuse_ext_header, fuse_secctx } from './layouts.ts';

/** fuse.h, FUSE_REC_ALIGN. */
const ALIGNMENT = 8;

interface SecurityContext {
  name: string;
  value: Uint8Array;
}

/**
 * The security labels that follow the names of MKNOD, MKDIR, SYMLINK, CREATE and TMPFILE (fuse.h: FUSE_SECURITY_CTX,
 * `fuse_secctx_header`, which is a `fuse_ext_header` too). Values are copies. None on a share without extended attributes, where a session
 * that was negotiated elsewhere can go on.
 *
 * @throws FsError EINVAL when they are malformed.
 */
export function securityContexts(call: Call): SecurityContext[] | undefined {
  if (!call.session.uses(FUSE_SECURITY_CTX)) return undefined;
  const bytes = call.message.rest();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const contexts: SecurityContext[] = [];
  for (let at = 0; at + fuse_ext_header.size <= bytes.length; ) {
    const { size, type } = fuse_ext_header.at(view, at);
    if (size < fuse_ext_header.size || at + size > bytes.length) throw FsError.of(EINVAL);
    if (type <= FUSE_MAX_NR_SECCTX) readContexts(bytes.subarray(at + fuse_ext_header.size, at + size), type, contexts);
    // fuse.h: at most so many, and Linux sends one header with them.
    if (contexts.length > FUSE_MAX_NR_SECCTX) throw FsError.of(EINVAL);
    at += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
  }
  return contexts.length && call.session.policy.xattr ? contexts : undefined;
}

function readContexts(bytes: Uint8Array, count: number, contexts: SecurityContext[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; count > 0; count--) {
    if (at + fuse_secctx.size > bytes.length) throw FsError.of(EINVAL);
    const { size } = fuse_secctx.at(view, at);
    const start = at + fuse_secctx.size;
    const end = bytes.indexOf(0, start);
    if (end <= start || end - start > XATTR_NAME_MAX || end + 1 + size > bytes.length) throw FsError.of(EINVAL);
    const name = decodeName(bytes.subarray(start, end));
    if (!name.startsWith('security.')) throw FsError.of(EINVAL);
    contexts.push({ name, value: copyOf(bytes.subarray(end + 1, end + 1 + size)) });
    at += Math.ceil((end + 1 + size - at) / ALIGNMENT) * ALIGNMENT;
  }
}
