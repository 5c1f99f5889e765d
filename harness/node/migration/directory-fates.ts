import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { MigrationError } from '../../../device/index.ts';
import { checkRoom, type Fate, type FateStore, isMigrationId, MAX_FATES } from '../../../device/migration/fates.ts';
import { syncDirectory } from '../stores/whole-file.ts';

const ACCEPTED = 'accepted';
const FATES: readonly Fate[] = ['started', 'never'];

/**
 * What became of migrations, as empty files of a directory, `ID.accepted`, `ID.started` or `ID.never`: deciding is renaming, which one process alone can do,
 * once. Several processes may have one directory, at the same time too.
 */
export class DirectoryFates implements FateStore {
  readonly directory: string;
  readonly #capacity: number;

  /** The directory is made when a machine is accepted. `capacity`: as for `MemoryFates`. */
  constructor(directory: string, capacity = MAX_FATES) {
    this.directory = directory;
    this.#capacity = capacity;
  }

  async accept(id: string): Promise<void> {
    if (!isMigrationId(id)) throw new MigrationError('a migration without an id');
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    const names = await readdir(this.directory);
    checkRoom(names.length, this.#capacity);
    if (names.some((name) => name.startsWith(id)))
      throw new MigrationError('this migration is on record already: begin another one');
    // Fails when somebody accepts the same one.
    await (await open(this.#path(id, ACCEPTED), 'wx', 0o600)).close();
    await syncDirectory(this.directory);
  }

  async decide(id: string, fate: Fate): Promise<Fate | undefined> {
    if (!isMigrationId(id)) return undefined;
    try {
      await rename(this.#path(id, ACCEPTED), this.#path(id, fate));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const decided = FATES.find((each) => existsSync(this.#path(id, each)));
    // Also what another process has decided may not be on the disk yet.
    if (decided) await syncDirectory(this.directory);
    return decided;
  }

  #path(id: string, state: string): string {
    return join(this.directory, `${id}.${state}`);
  }
}
