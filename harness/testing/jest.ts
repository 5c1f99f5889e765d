/**
 * Adds the matchers to jest's `expect`: import it in a test or in `setupFilesAfterEnv`.
 *
 * @module v86-virtiofs/testing/jest
 */
import { expect } from '@jest/globals';
import { type GuestMatchers, matchers } from './matchers.ts';

declare module 'expect' {
  interface Matchers<R extends void | Promise<void>, T = unknown> extends GuestMatchers<R> {}
}

expect.extend(matchers as never);
