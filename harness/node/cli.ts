#!/usr/bin/env node
import { CommanderError } from 'commander';
import { MachineError, MigrationError, SnapshotError } from '../../device/index.ts';
import { GuestImageError } from '../../guest-images/errors.ts';
import { packageVersion } from '../../guest-images/paths.ts';
import { VmError } from '../machine/errors.ts';
import { printableLines } from '../machine/printable.ts';
import { exitCodeOf, OWN_FAILURE } from './cli/options.ts';
import { finishOutput, put, watchOutput } from './cli/output.ts';
import { makeProgram, Versions } from './cli/program.ts';
import { v86Version } from './v86.ts';

watchOutput();
try {
  await makeProgram().parseAsync();
} catch (error) {
  if (error instanceof Versions) {
    put('stdout', `v86-virtiofs ${packageVersion()}, v86 ${await v86Version()}\n`);
  } else if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : OWN_FAILURE;
  } else {
    const isExpected = [VmError, GuestImageError, MachineError, MigrationError, SnapshotError].some(
      (kind) => error instanceof kind,
    );
    put(
      'stderr',
      `v86-virtiofs: ${printableLines((isExpected ? (error as Error).message : (error as Error).stack) ?? String(error))}\n`,
    );
    process.exitCode = exitCodeOf(error);
  }
}
await finishOutput();
// Not when the last timer of a stopped emulator has run out.
process.exit();
