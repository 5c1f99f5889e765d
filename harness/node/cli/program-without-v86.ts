import { Command } from 'commander';
import { LAST_TESTED } from '../../../device/v86/versions.ts';
import { VmError } from '../../machine/errors.ts';
import { addDoctorCommand } from './doctor.ts';

/** What there is of the command line where v86, which users of the package bring themselves, is not installed. */
export function makeProgram(): Command {
  const program = new Command('v86-virtiofs')
    .exitOverride()
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(() => {
      throw new VmError(
        'configuration',
        `v86 is not installed: run \`npm install v86@${LAST_TESTED}\`, and \`v86-virtiofs doctor\` for what else is missing`,
      );
    });
  addDoctorCommand(program);
  return program;
}
