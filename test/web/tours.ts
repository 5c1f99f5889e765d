import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import type { Visit } from './support.ts';
import type { Look } from './walk.ts';

export const welcome = ({ page }: Visit): Locator => page.getByRole('region', { name: 'Welcome' });

async function start(visit: Visit, tour: string): Promise<void> {
  await welcome(visit).getByRole('button', { name: tour }).click();
  await welcome(visit).waitFor({ state: 'detached' });
}

/** What the welcome's buttons lead to, by their labels: what a first visitor sees after one press, and does then, told by nothing but the page. */
export const TOURS: Record<string, (visit: Visit, look: Look) => Promise<void>> = {
  'Watch a cat cross the device': async (visit, look) => {
    await start(visit, 'Watch a cat cross the device');
    const step = visit.page.locator('vm-step');
    await step.getByRole('heading', { name: /The driver has written a [A-Z]+ request/ }).waitFor();
    await step.getByText(/^Stage 2 of 8/).waitFor();
    await look('tour cat');
    await step.getByRole('button', { name: 'Continue' }).click();
    await visit.until(async () => /Welcome!/.test(await visit.screen()), 'cat did not end');
  },
  'Go back in time': async (visit, look) => {
    await start(visit, 'Go back in time');
    await visit.page.getByText(/note\.txt is gone/).waitFor();
    await visit.until(async () => /rm note\.txt; ls\s+README\.txt/.test(await visit.screen()), 'it was not removed');
    await look('tour time');
    await visit.page.getByRole('button', { name: 'Rewind to: Before rm' }).click();
    await visit.until(async () => !/rm note\.txt/.test(await visit.screen()), 'the screen is not as it was');
    expect(await visit.run('cat note.txt')).to.equal('You can bring me back.');
  },
  'Open two machines': async (visit, look) => {
    await start(visit, 'Open two machines');
    await visit.until(async () => /Hello from guest\n/.test(await visit.screen(1)), 'the second one has not read it');
    await look('tour two');
    await visit.run('echo answer >> hello.txt', 1);
    // The other one keeps what it knows for a second.
    await visit.until(
      async () => (await visit.run('cat hello.txt')) === 'Hello from guest\nanswer',
      'the first one has not read the answer',
    );
    await visit.page.getByRole('button', { name: 'Dismiss the hint' }).click();
    await visit.page.getByText(/share one folder/).waitFor({ state: 'detached' });
  },
};
