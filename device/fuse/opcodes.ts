import { DIRECTORY_OPERATIONS } from './handlers/directories.ts';
import { FILE_OPERATIONS } from './handlers/files.ts';
import { NODE_OPERATIONS } from './handlers/nodes.ts';
import { SESSION_OPERATIONS } from './handlers/session.ts';
import { XATTR_OPERATIONS } from './handlers/xattrs.ts';
import type { Operation } from './operation.ts';

/** Every opcode that is served, by its number. Others are answered ENOSYS, which Linux remembers. */
export const OPERATIONS: ReadonlyMap<number, Operation> = new Map(
  [...SESSION_OPERATIONS, ...NODE_OPERATIONS, ...FILE_OPERATIONS, ...DIRECTORY_OPERATIONS, ...XATTR_OPERATIONS]
    .sort((a, b) => a.opcode - b.opcode)
    .map((row) => [row.opcode, row]),
);
