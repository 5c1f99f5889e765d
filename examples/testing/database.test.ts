// Kills a database at random moments of one run, each forked from it: node --import tsx --test examples/testing/database.test.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { ensureUserland } from 'v86-virtiofs/harness';
import { baseMachine } from 'v86-virtiofs/testing';

const MOMENTS = Number(process.env['MOMENTS'] ?? 200);
const SQLITE = ['chroot', '/mnt/debian', 'sqlite3', '/log.db'];
const CHECK = 'PRAGMA integrity_check; SELECT count(*), max(n) FROM log';
/** Each line is a transaction, and says its number when that is committed. */
const LINES = `n=0; while n=$((n + 1)); do echo "INSERT INTO log VALUES ($n); SELECT $n;"; done`;

const base = baseMachine({
  shares: [{ tag: 'debian', source: await ensureUserland(['sqlite3']) }],
  // The writer goes on in each fork.
  prepare: `
    chroot . sqlite3 /log.db 'CREATE TABLE log (n INTEGER PRIMARY KEY)'
    (${LINES}) 2> /dev/null | chroot . sqlite3 /log.db > committed 2> /dev/null &
    until [ -s committed ]; do sleep 0.1; done`,
});

test(
  `has lost nothing after kill -9 at ${MOMENTS} moments`,
  base.test(
    async (vm) => {
      for (let n = 0; n < MOMENTS; n++) {
        await pause(100 * Math.random());
        await using moment = await vm.checkpoint();
        await vm.exec('killall -9 sqlite3 && while pidof sqlite3; do :; done', { check: true });
        const committed = String(vm.share().fs.readFileSync('/committed')).trim().split('\n').at(-1);
        const { stdout } = await vm.exec([...SQLITE, CHECK], { check: true });
        const [, count, last] = /^ok\n(\d+)\|(\d+)\n$/.exec(stdout) ?? assert.fail(stdout);
        assert.equal(count, last);
        assert.ok(Number(last) >= Number(committed), `${committed} were committed, and ${last} are there`);
        // None of that has happened.
        await vm.rewind(moment);
      }
    },
    { timeoutMs: 1_800_000 },
  ),
);
