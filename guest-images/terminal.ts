import ora from 'ora';
import { ensureGuestImage } from './build.ts';
import { GuestImageError } from './errors.ts';

/** Builds the image with progress on stderr: a spinner on a terminal, one line a step in a log. Nothing when it is there. */
export async function buildOnTerminal(): Promise<void> {
  const spinner = ora({ prefixText: 'guest image:' });
  try {
    let isBuilding = false;
    const image = await ensureGuestImage({
      onProgress: (message) => {
        isBuilding = true;
        if (spinner.isSpinning) spinner.text = message;
        else spinner.start(message);
      },
    });
    if (isBuilding) spinner.succeed(`Linux ${image.release}`);
  } catch (error) {
    if (!(error instanceof GuestImageError)) throw error;
    spinner.fail(error.message);
    process.exitCode = 1;
  }
}
