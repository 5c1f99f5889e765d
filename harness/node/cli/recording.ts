import { closeSync, openSync, writeSync } from 'node:fs';
import { RequestRecorder } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { workShare } from '../own-kernel.ts';
import { PRIVATE } from '../stores/whole-file.ts';
import type { Vm } from '../vm.ts';

/** A file with the requests of a share. */
export class RecordingFile {
  readonly #path: string;
  readonly #fd: number;
  #recorder: RequestRecorder | undefined;
  #failure: Error | undefined;

  /** Takes the place of what is there. @throws VmError `configuration`. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, 'w', PRIVATE);
    } catch (error) {
      throw new VmError('configuration', `can't record to ${printable(path)}: ${(error as Error).message}`);
    }
  }

  /** Records the first share of a guest that has not mounted it. @throws VmError `configuration`. */
  begin(vm: Vm): void {
    const share = workShare(vm);
    if (!share) throw new VmError('configuration', 'this guest has no share to record: give one with --share');
    this.#recorder = new RequestRecorder(share.device, (bytes) => this.#write(bytes));
  }

  #write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length && !this.#failure; ) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      this.#failure = error as Error;
    }
  }

  /** @throws VmError `share` when not everything is in the file. */
  end(): void {
    this.#recorder?.stop();
    closeSync(this.#fd);
    const what = `the recording ${printable(this.#path)} is not complete`;
    if (this.#failure) throw new VmError('share', `${what}: ${this.#failure.message}`);
    if (this.#recorder?.isFull) throw new VmError('share', `${what}: it would be larger than a recording may be`);
  }
}
