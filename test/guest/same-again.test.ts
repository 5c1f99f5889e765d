import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Recorder } from '../../device/index.ts';
import type { Vm } from '../../harness/index.ts';
import { type BaseMachine, baseMachine } from '../../harness/testing/index.ts';

const TIME = Date.UTC(2030, 0, 2);
/** Processes, pipes, and a little of every change. */
const SCRIPT = `
  for n in 1 2 3 4 5 6 7 8; do
    seq $n 100 | sort -r | head -n $n > f$n; mv f$n g$n; ln -s g$n l$n; cat l$n; mkdir -p d/$n; cp g$n d/$n; chmod 600 d/$n/g$n
  done
  rm -r d/1 d/2; md5sum g*; ls -l; sync`;

/** How far one snapshot with the same inputs does the same: docs/going-on.md says so. */
describe('two that go on from one snapshot with the same clock and no new randomness', function () {
  this.timeout(300_000);
  let directory: string;
  let base: BaseMachine;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bases-'));
    // Nothing is asked again because time has passed.
    const shares = [{ tag: 'share', cache: 'always' as const }];
    base = baseMachine({ store: directory, shares, reseed: false, clock: () => TIME });
  });
  after(async () => {
    await base.close();
    await rm(directory, { recursive: true });
  });

  async function run(vm: Vm) {
    const recorder = new Recorder(vm.share().device);
    recorder.isOn = true;
    const { stdout, stderr, code } = await vm.exec(SCRIPT, { cwd: '/mnt/share', check: true });
    const requests = recorder.records
      // A worker of the guest's kernel sends these, when it gets to it.
      .filter(({ opcode }) => opcode !== 'FORGET')
      .map(({ opcode, nodeid, args, error }) => {
        const { names, size, offset, mode } = args;
        return { opcode, nodeid, error, names, size, offset, mode };
      });
    return { stdout: stdout.replace(/\d\d:\d\d(:\d\d)?/g, ''), stderr, code, requests };
  }

  it('ask their shares for the same, one by one, and have the same files @long', async () => {
    await using one = await base.fork();
    await using two = await base.fork();
    const [first, second] = [await run(one), await run(two)];
    expect(first.requests).to.have.length.above(100);
    expect(second).to.deep.equal(first);
  });
});
