/**
 * Adds the matchers to jest's `expect`, and has tests know when jest gives them up: import it in a test or in `setupFilesAfterEnv`.
 *
 * @module v86-virtiofs/testing/jest
 */
import { afterEach, expect } from '@jest/globals';
import { type GuestMatchers, matchers } from './matchers.ts';
import { endOfTest, expectEnds } from './runner.ts';

declare module 'expect' {
  interface Matchers<R extends void | Promise<void>, T = unknown> extends GuestMatchers<R> {}
}

expect.extend(matchers as never);

expectEnds();
afterEach(() => endOfTest(expect.getState().currentTestName ?? ''));
