import type { Locator } from 'playwright-core';
import type { Visit } from './support.ts';

/** The timeline of the page, as a visitor uses it. */
export const panel = ({ page }: Visit): Locator => page.locator('vm-timeline');

/** Rows with this name. */
export const rows = (visit: Visit, name: string): Locator =>
  panel(visit)
    .locator('.list > li')
    .filter({ has: visit.page.locator('.name').getByText(name, { exact: true }) });

/** Waits until nothing is being done. */
export const idle = (visit: Visit): Promise<void> =>
  panel(visit).getByRole('button', { name: 'Snapshot now' }).and(visit.page.locator(':enabled')).waitFor();

/** Opens it, without automatic snapshots from then on. */
export async function show(visit: Visit): Promise<Visit> {
  await visit.ready();
  await visit.page.getByRole('tab', { name: 'Timeline' }).click();
  await panel(visit).getByRole('combobox').selectOption('never');
  return visit;
}

export async function take(visit: Visit, name: string): Promise<void> {
  await panel(visit).getByLabel('Name of the snapshot').fill(name);
  await panel(visit).getByRole('button', { name: 'Snapshot now' }).click();
  await rows(visit, name).waitFor();
  await idle(visit);
}

/** Presses a button of a row, also one that is not there at first. */
export async function pressIn(row: Locator, button: string): Promise<void> {
  const action = row.getByRole('button', { name: button });
  const more = row.getByRole('button', { name: 'More' });
  // The row may not be there yet.
  await action.or(more).first().waitFor();
  if (!(await action.count())) await more.click();
  await action.click();
}
