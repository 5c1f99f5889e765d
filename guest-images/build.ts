import type { GuestImage, GuestImageOptions } from './image.ts';

/**
 * The guest image, built from Debian packages when it is missing or its inputs have changed.
 * Processes that build at the same time don't get in each other's way.
 *
 * @throws GuestImageError when it can't be built; the message says what to provide instead.
 */
export async function ensureGuestImage(_options: GuestImageOptions = {}): Promise<GuestImage> {
  throw new Error('not there yet');
}
