// A test that jest gives up: test/guest/tools/testing.test.ts looks at what that says.

import { expect, test } from '@jest/globals';
import { baseMachine } from 'v86-virtiofs/testing';
import 'v86-virtiofs/testing/jest';

const base = await baseMachine({ prepare: 'echo 0 > count; echo prepared > /dev/console' }).ready();
const said: unknown[] = [];
const { error } = console;
console.error = (text: unknown) => {
  said.push(text);
  error(text);
};

let given: AbortSignal | undefined;
test(
  'gives up',
  base.test((vm, { signal }) => {
    given = signal;
    return vm.exec('sleep 1000');
  }),
  300,
);
// When it begins, the machine of the one before has ended.
test('is told of it', () => {
  expect(said).toHaveLength(1);
  expect(given!.aborted).toBe(true);
});
test(
  'has time enough',
  base.test(async (vm, { signal }) => {
    given = signal;
    await vm.exec('true', { check: true });
  }),
);
test('was not told of anything', () => expect([said.length, given!.aborted]).toEqual([1, false]));
