import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Those of these programs that are not in the directories of `path`. */
export function missingPrograms(names: readonly string[], path = process.env['PATH'] ?? ''): string[] {
  const directories = path.split(delimiter).filter(Boolean);
  return names.filter((name) => !directories.some((directory) => existsSync(join(directory, name))));
}
