import { fork } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { CALLS, furnish, KINDS, outcome, pathOf, SPECIAL, treeOf } from '../../support/host-calls.ts';

interface Told {
  kind: string;
  name: string;
  said?: string;
}

/** What Linux does with a FIFO that nobody reads, a socket, and a device without a driver. */
const WRITES = Object.keys(CALLS).filter(
  (name) => /write|append|truncate/i.test(name) && !/below|open r, write/.test(name),
);

describe('every call of the host on every kind of inode', function () {
  this.timeout(120_000);
  const told = new Map<string, string>();

  before((done) => {
    const child = fork(join(import.meta.dirname, '../../support/host-calls-worker.ts'), {
      execArgv: ['--import', 'tsx'],
    });
    let last: Told | undefined;
    let patience: NodeJS.Timeout;
    const wait = () => {
      clearTimeout(patience);
      patience = setTimeout(() => child.kill('SIGKILL'), 60_000);
    };
    child.on('message', (message: Told) => {
      last = message;
      wait();
      if (message.said !== undefined) told.set(`${message.name} on ${message.kind}`, message.said);
    });
    child.on('exit', (code) => {
      clearTimeout(patience);
      done(
        code === 0
          ? undefined
          : new Error(
              `${last?.name} on ${last?.kind} ${last?.said === undefined ? 'never ends' : 'was the last'} (${code})`,
            ),
      );
    });
    wait();
  });

  for (const kind of KINDS) {
    it(`${kind}: as Node's own on a directory`, async () => {
      const differences: string[] = [];
      for (const [name, call] of Object.entries(CALLS)) {
        const top = fs.mkdtempSync(join(tmpdir(), 'calls-'));
        try {
          furnish(fs, top);
          const said = await outcome(() => call(fs, pathOf(top, kind), `${top}/other`));
          const expected = `${said}, then ${treeOf(fs, top).join(', ')}`;
          const key = `${name} on ${kind}`;
          if (told.get(key) !== expected) differences.push(`${key}: ${told.get(key)}, Node has ${expected}`);
        } finally {
          fs.rmSync(top, { recursive: true });
        }
      }
      expect(differences).to.deep.equal([]);
    });
  }

  for (const kind of SPECIAL) {
    it(`${kind}: each ends, with an error where there is nobody to write to`, () => {
      for (const name of Object.keys(CALLS))
        expect(told.get(`${name} on ${kind}`), name).to.match(/^(ok|true|\d+|""|E[A-Z]+), then/);
      for (const name of WRITES) expect(told.get(`${name} on ${kind}`), name).to.match(/^(ENXIO|EINVAL), then/);
    });
  }
});
