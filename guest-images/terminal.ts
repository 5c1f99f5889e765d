import ora from 'ora';
import { ensureGuestImage } from './build.ts';
import { GuestImageError } from './errors.ts';
import type { GuestImageOptions } from './image.ts';

/**
 * Does something with progress on stderr: a spinner on a terminal, one line a step in a log. `action` returns what to say in the end;
 * nothing is said where it had nothing to do. A {@link GuestImageError} is told, and makes the process fail.
 */
export async function onTerminal(
  prefixText: string,
  action: (onProgress: (message: string) => void) => Promise<string>,
): Promise<void> {
  const spinner = ora({ prefixText, color: process.env['NO_COLOR'] ? false : 'cyan' });
  let hasBegun = false;
  try {
    const result = await action((message) => {
      if (!message) return;
      hasBegun = true;
      if (spinner.isSpinning) spinner.text = message;
      else spinner.start(message);
    });
    if (hasBegun) spinner.succeed(result);
  } catch (error) {
    if (!(error instanceof GuestImageError)) {
      spinner.stop();
      throw error;
    }
    spinner.fail(error.message);
    process.exitCode = 1;
  }
}

/** Builds an image. */
export function buildOnTerminal(options: GuestImageOptions = {}): Promise<void> {
  return onTerminal(
    'guest image:',
    async (onProgress) => `Linux ${(await ensureGuestImage({ ...options, onProgress })).release}`,
  );
}
