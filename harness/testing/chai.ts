/**
 * Adds the assertions to chai, for mocha: import it in a test or with `--require`.
 *
 * @module v86-virtiofs/testing/chai
 */
import { use } from 'chai';
import { type GuestAssertions, guestChai } from './matchers.ts';

declare global {
  namespace Chai {
    interface Assertion extends GuestAssertions {}
  }
}

use(guestChai as never);
