import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { FileStore } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { writeFileWhole } from '../stores/whole-file.ts';

const SUFFIX = '.image';

/** The name of an image without its suffix. @throws VmError `configuration` for one that it can't have. */
export function imageStem(file: string): string {
  const [, stem] = /^([a-zA-Z0-9][a-zA-Z0-9._-]*)\.image$/.exec(basename(file)) ?? [];
  if (stem !== undefined) return stem;
  throw new VmError(
    'configuration',
    `can't make the image ${printable(file)}: its name has to end in ${SUFFIX}, after letters, digits, ".", "_" or "-"`,
  );
}

/** Where the files of an image are written, each whole or not at all. Makes the directory. */
export function imageDirectory(directory: string): Pick<FileStore, 'write'> {
  return {
    write: async (name, parts) => {
      try {
        await mkdir(directory, { recursive: true });
        await writeFileWhole(join(directory, name), parts);
      } catch (error) {
        throw new VmError('share', `can't write ${printable(join(directory, name))}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    },
  };
}
