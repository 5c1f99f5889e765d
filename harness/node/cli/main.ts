import { CommanderError } from 'commander';
import { packageVersion } from '../../../guest-images/paths.ts';
import { v86Version } from '../v86.ts';
import { endCommand } from './failure.ts';
import { OWN_FAILURE } from './options.ts';
import { put, watchOutput } from './output.ts';
import { Versions } from './versions.ts';

/** Runs this process's command line in this process, and sets its exit code. */
export async function main(): Promise<void> {
  watchOutput();
  // Of the client of AWS, at each start: which releases of Node will do is for `doctor` to say.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  await endCommand(async () => {
    const { makeProgram } = await import('./program.ts').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_MODULE_NOT_FOUND' || !/'v86'/.test(error.message)) throw error;
      return import('./program-without-v86.ts');
    });
    try {
      await makeProgram().parseAsync();
    } catch (error) {
      if (error instanceof Versions) put('stdout', `v86-virtiofs ${packageVersion()}, v86 ${await v86Version()}\n`);
      else if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : OWN_FAILURE;
      else throw error;
    }
  });
}
