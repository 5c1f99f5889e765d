import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeToken } from '../../device/index.ts';
import { type Cli, useCli } from './cli.ts';

/** A script that ends with 3 when it is asked to end, and not before. */
export const trapping = (signal: string) =>
  `trap "echo caught; exit 3" ${signal}; echo started >&2; while :; do sleep 0.1; done`;

/** The command line, and a store in which a guest is frozen as `base`, for the tests of the surrounding `describe`. */
export function useFrozenGuest(): Cli & { readonly store: string[]; readonly token: string } {
  const cli = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'frozen-guest-'));
  const store = ['--store', join(directory, 'store')];
  before(async () => {
    const { code, stderr } = await cli.run(['freeze', ...store, '--name', 'base']);
    expect(code, stderr).to.equal(0);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));
  return { ...cli, store, token: makeToken() };
}
