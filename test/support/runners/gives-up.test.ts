// A test that vitest gives up: test/guest/tools/testing.test.ts looks at what that says.

import { baseMachine } from 'v86-virtiofs/testing';
import { test } from 'vitest';

const base = await baseMachine({ prepare: 'echo 0 > count; echo prepared > /dev/console' }).ready();
const said: unknown[] = [];
const { error } = console;
console.error = (text: unknown) => {
  said.push(text);
  error(text);
};

test(
  'gives up',
  base.test((vm) => vm.exec('sleep 1000')),
  300,
);
test('is told of it', async () => {
  while (!said.length) await new Promise((resolve) => setTimeout(resolve, 20));
});
