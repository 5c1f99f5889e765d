import { MachineError, MigrationError, SnapshotError } from '../../device/index.ts';
import { GuestImageError } from '../../guest-images/errors.ts';

/** Beside VmError: errors whose messages say what there is to say, so that where they come from is of no use. */
export const TOLD_ERRORS = [SnapshotError, MachineError, MigrationError, GuestImageError];
