import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function packageRoot(): string {
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'package.json'))) root = dirname(root);
  return root;
}

/** Of this package, whether this runs from its sources or compiled. */
export const PACKAGE_ROOT = packageRoot();
/** C sources, patches, and the scripts that the image depends on. */
export const SOURCES = join(PACKAGE_ROOT, 'guest-images');
/** What is built. */
export const BUILD = join(PACKAGE_ROOT, 'build');
