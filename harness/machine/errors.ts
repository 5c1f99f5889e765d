/**
 * What went wrong, for programs that have to tell failures apart:
 * - `configuration`: an option is wrong, or options don't fit together;
 * - `image`: the guest image is missing, or lacks what was asked of it;
 * - `share`: a share could not be loaded, mounted or written back;
 * - `boot`: the guest did not come up;
 * - `guest`: the guest refuses what it was asked to do;
 * - `crashed`: the guest's kernel panicked, or did what the emulator can't;
 * - `halted`: the guest has halted, or turned its power off;
 * - `rebooted`: the guest has rebooted, so what ran in it is gone;
 * - `timeout`: the guest did not answer in time;
 * - `snapshot`: a saved machine is damaged, foreign, or of another configuration;
 * - `unsettled`: the machine may run on the other side of a migration that broke in its switch;
 * - `stopped`: the machine is not running any more.
 */
export type VmErrorKind =
  | 'configuration'
  | 'image'
  | 'share'
  | 'boot'
  | 'guest'
  | 'crashed'
  | 'halted'
  | 'rebooted'
  | 'timeout'
  | 'snapshot'
  | 'unsettled'
  | 'stopped';

/** How a guest can end by itself. */
export type GuestEnd = Extract<VmErrorKind, 'crashed' | 'halted' | 'rebooted'>;

/** Every failure of the harness. The message says what was found and what to do about it. */
export class VmError extends Error {
  override readonly name = 'VmError';
  readonly kind: VmErrorKind;

  constructor(kind: VmErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** A command that the guest could not start. */
export class CommandError extends VmError {
  /** What a shell says of it: 127 when there is no such program, 126 when it can't be run, or not there. */
  readonly code: 126 | 127;

  constructor(message: string, code: 126 | 127, options?: ErrorOptions) {
    super('guest', message, options);
    this.code = code;
  }
}
