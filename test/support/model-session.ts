import { PosixSession } from '../../device/conformance/posix-session.ts';
import { filesystemOf, volumeOf } from '../../device/filesystems/memfs/volume.ts';
import { checkState } from '../../device/filesystems/memory/check-state.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { type MemoryFileSystem, Volume } from '../../device/index.ts';
import { stepOnHost } from './posix-host.ts';

/** Does steps on a memfs volume, by a session's requests and by the host's `fs` API. */
export class ModelSession extends PosixSession {
  filesystem: MemoryFileSystem;

  private constructor(filesystem: MemoryFileSystem) {
    super(new FuseSession({ filesystem }));
    this.filesystem = filesystem;
  }

  static async start(): Promise<ModelSession> {
    const session = new ModelSession(filesystemOf(new Volume()));
    await session.init();
    return session;
  }

  /** Goes on in another session on a copy of the files, as after a restore elsewhere. */
  moveElsewhere(): void {
    const saved = structuredClone({ files: this.filesystem.state(), session: this.session.state() });
    this.filesystem = filesystemOf(new Volume());
    this.filesystem.restore(checkState(saved.files));
    this.session = new FuseSession({ filesystem: this.filesystem });
    this.session.restore(FuseSession.checkState(saved.session, this.filesystem), () => undefined);
    this.filesystem.settle();
  }

  override async step(text: string): Promise<string> {
    if (!text.startsWith('host-')) return super.step(text);
    const [name, ...words] = text.slice('host-'.length).split(' ') as [string, ...string[]];
    return stepOnHost(volumeOf(this.filesystem), name, words);
  }
}
