// Writes docs/fuse-opcodes.md from the tables in the code: `npm run docs`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as constants from '../device/fuse/constants.ts';
import { INIT_FLAGS, MIN_MINOR } from '../device/fuse/negotiation.ts';
import { OPERATIONS } from '../device/fuse/opcodes.ts';

export const FUSE_DOCS = join(import.meta.dirname, '../docs/fuse-opcodes.md');

/** Opcodes of fuse.h that are not served, by number, and why. */
const NOT_SERVED: Record<string, string> = {
  ACCESS: 'Linux checks permissions itself: virtio-fs is mounted with `default_permissions`.',
  BMAP: 'There is no block device below.',
  POLL: 'Files here are always ready.',
  NOTIFY_REPLY: 'Nothing is asked of the guest in a notification.',
  SETUPMAPPING: 'There is no DAX window.',
  REMOVEMAPPING: 'There is no DAX window.',
};

export function fuseDocs(): string {
  const opcodes = Object.entries(constants)
    .filter((entry): entry is [string, number] => /^FUSE_[A-Z0-9_]+$/.test(entry[0]) && typeof entry[1] === 'number')
    .map(([name, opcode]) => ({ name: name.slice('FUSE_'.length), opcode }))
    .filter(({ name, opcode }) => OPERATIONS.get(opcode)?.name === name || name in NOT_SERVED)
    .sort((a, b) => a.opcode - b.opcode);
  const rows = opcodes.map(({ name, opcode }) => {
    const operation = OPERATIONS.get(opcode);
    if (!operation) return `| ${opcode} | ${name} | ENOSYS | ${NOT_SERVED[name]!} |`;
    const answer = operation.noReply ? 'none' : operation.output ? `\`${operation.output.name}\`` : 'data or nothing';
    return `| ${opcode} | ${name} | ${answer} | ${operation.about}${operation.changes ? ' Read-only shares: EROFS.' : ''} |`;
  });
  const flags = INIT_FLAGS.map(
    ({ name, bit, when, about }) => `| ${bit.toString(2).length - 1} | ${name} | ${when} | ${about} |`,
  );
  return `# FUSE: every opcode and INIT flag

Written by \`npm run docs\` from the tables in device/fuse; a test compares. The protocol is ${constants.FUSE_KERNEL_VERSION}.${MIN_MINOR} to ${constants.FUSE_KERNEL_VERSION}.${constants.FUSE_KERNEL_MINOR_VERSION},
the names are those of \`fuse.h\`.

## Opcodes

Every other number is answered ENOSYS, which Linux remembers.

| number | opcode | answer | what it does |
|---|---|---|---|
${rows.join('\n')}

## INIT flags

A flag is taken when the guest offers it and the condition holds; conditions are options of the device.

| bit | flag | when | what it does, or why it is not there |
|---|---|---|---|
${flags.join('\n')}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FUSE_DOCS, fuseDocs());
