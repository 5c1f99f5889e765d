/**
 * Adds the matchers to vitest's `expect`: import it in a test or in `setupFiles`.
 *
 * @module v86-virtiofs/testing/vitest
 */
import { expect } from 'vitest';
import { type GuestMatchers, matchers } from './matchers.ts';

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: as vitest declares it.
  interface Matchers<T = any> extends GuestMatchers<T> {}
}

expect.extend(matchers);
