/**
 * Tests that each get a machine of their own, in the same state, in any test runner.
 *
 * @module v86-virtiofs/testing
 */
export {
  BaseMachine,
  type BaseMachineOptions,
  baseMachine,
  type Preparation,
  type TestFunction,
  type TestInfo,
} from './base-machine.ts';
export { CheckError, check, type GuestAssertions, type GuestMatchers, guestChai, matchers } from './matchers.ts';
