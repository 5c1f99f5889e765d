import type { Volume } from '../../device/index.ts';

/** What comes of a step by memfs's `fs` API, in the top directory of a volume. */
export function stepOnHost(volume: Volume, name: string, [a = '', b = '']: string[]): string {
  try {
    switch (name) {
      case 'mkdir':
        volume.mkdirSync(`/${a}`, { mode: 0o755 });
        break;
      case 'symlink':
        volume.symlinkSync(a, `/${b}`);
        break;
      case 'link':
        volume.linkSync(`/${a}`, `/${b}`);
        break;
      case 'unlink':
        volume.unlinkSync(`/${a}`);
        break;
      case 'rmdir':
        volume.rmdirSync(`/${a}`);
        break;
      case 'rename':
        volume.renameSync(`/${a}`, `/${b}`);
        break;
      default:
        throw new Error(`no such step: ${name}`);
    }
    return 'ok';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!code) throw error;
    return code;
  }
}
