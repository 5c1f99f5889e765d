import { proxyMarker } from 'comlink';
import type { MemoryFileSystem, VirtioFsDevice } from '../../device/index.ts';
import type { DeviceApi, RootInfo } from '../protocol.ts';
import { Folder, type FolderUser } from './folder.ts';
import { Inspector } from './inspector.ts';

/** The device that a guest's root filesystem is on. What looks at it is made when it is asked for first: as long as nobody looks, it costs nothing. */
export class RootDevice implements DeviceApi {
  readonly [proxyMarker] = true;
  readonly #user: FolderUser;
  readonly #onChange: () => void;
  #folder: Folder | undefined;
  #inspector: Inspector | undefined;

  constructor(name: string, device: VirtioFsDevice<MemoryFileSystem>, onChange: () => void) {
    this.#user = { name, device };
    this.#onChange = onChange;
  }

  get filesystem(): MemoryFileSystem {
    return this.#user.device.filesystem;
  }

  get folder(): Folder {
    return (this.#folder ??= new Folder(this.#user.device, () => [this.#user], this.#onChange));
  }

  get inspector(): Inspector {
    return (this.#inspector ??= new Inspector(this.#user.device, () => [this.#user]));
  }

  get isHeld(): boolean {
    return this.#inspector?.isHeld ?? false;
  }

  get info(): RootInfo {
    return { tag: this.#user.device.tag, isHeld: this.isHeld };
  }

  /** Its guest is at another moment. */
  moved(): void {
    this.#folder?.changed();
    this.#inspector?.release();
  }

  close(): void {
    this.#folder?.close();
  }
}
