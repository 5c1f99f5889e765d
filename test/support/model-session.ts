import { PosixSession } from '../../device/conformance/posix-session.ts';
import { filesystemOf, volumeOf } from '../../device/filesystems/memfs/volume.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { type MemoryFileSystem, type MemoryFileSystemOptions, Volume } from '../../device/index.ts';
import { decodeFields, encodeFields } from '../../device/snapshot/fields.ts';
import { type ChunkOrigin, empty } from './chunk-origin.ts';
import { stepOnHost } from './posix-host.ts';

/** Where content of a {@link ModelSession} is when it is not in its filesystem. */
export interface Elsewhere {
  origin: ChunkOrigin;
  maxContent: number;
  /** Whether one chunk is not here. */
  isAbsent: () => boolean;
}

/** Does steps on a memfs volume, by a session's requests and by the host's `fs` API. */
export class ModelSession extends PosixSession {
  filesystem: MemoryFileSystem;
  readonly #elsewhere: Elsewhere | undefined;

  private constructor(filesystem: MemoryFileSystem, elsewhere?: Elsewhere) {
    super(new FuseSession({ filesystem }));
    this.filesystem = filesystem;
    this.#elsewhere = elsewhere;
  }

  static async start(elsewhere?: Elsewhere): Promise<ModelSession> {
    const session = new ModelSession(filesystemOf(new Volume(), optionsOf(elsewhere)), elsewhere);
    await session.init();
    return session;
  }

  /** Goes on in another session on a copy of the files, as after a restore elsewhere. */
  moveElsewhere(): void {
    const saved = decodeFields(encodeFields({ files: this.filesystem.state(), session: this.session.state() })) as {
      files: unknown;
      session: unknown;
    };
    this.filesystem = filesystemOf(new Volume(), optionsOf(this.#elsewhere));
    this.filesystem.restore(this.filesystem.checkState(saved.files));
    this.session = new FuseSession({ filesystem: this.filesystem });
    this.session.restore(FuseSession.checkState(saved.session, this.filesystem), () => undefined);
    this.filesystem.settle();
  }

  /** Some of the content is elsewhere from now on. */
  leaveContent(): void {
    if (this.#elsewhere) empty(this.filesystem, this.#elsewhere.origin, this.#elsewhere.isAbsent);
  }

  /** What could not be fetched is tried again: it has changed nothing. */
  override async step(text: string): Promise<string> {
    if (text.startsWith('host-')) {
      const [name, ...words] = text.slice('host-'.length).split(' ') as [string, ...string[]];
      return stepOnHost(volumeOf(this.filesystem), name, words);
    }
    for (;;) {
      const result = await super.step(text);
      if (result !== 'EIO' || !this.#elsewhere) return result;
    }
  }
}

function optionsOf(elsewhere: Elsewhere | undefined): MemoryFileSystemOptions | undefined {
  return elsewhere && { origin: elsewhere.origin, maxContent: elsewhere.maxContent };
}
