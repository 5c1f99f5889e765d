import { expect } from 'chai';
import { useGuest } from '../support/guest.ts';
import { agrees, SCENARIOS, type Scenario } from '../posix/scenarios/index.ts';

describe('POSIX scenarios in the guest', function () {
  this.timeout(300_000);
  const guest = useGuest();
  const outcomes = new Map<string, string[][]>();

  /** What every step of every scenario came to in `directory`. */
  async function run(directory: string): Promise<string[][]> {
    const lines = SCENARIOS.flatMap(({ steps }, n) => [`scenario s${n}`, ...steps.map(({ text }) => text)]);
    const { stdout, stderr, code } = await guest.vm.exec(['posix', directory], { stdin: `${lines.join('\n')}\n`, timeoutMs: 240_000 });
    expect(code, stderr).to.equal(0);
    const results = stdout.split('\n');
    expect(results, 'a line for each step').to.have.length(lines.length + 1);
    return SCENARIOS.map(({ steps }) => {
      expect(results.shift()).to.equal('ok');
      return results.splice(0, steps.length);
    });
  }

  before(async () => {
    await guest.vm.exec('mkdir -p /tmpfs && mount -t tmpfs tmpfs /tmpfs');
    outcomes.set('the share', await run('/mnt/share'));
    outcomes.set('tmpfs', await run('/tmpfs'));
  });

  function check({ steps }: Scenario, actual: string[]): void {
    steps.forEach(({ text, expected }, n) => {
      if (!agrees(expected, actual[n]!)) throw new Error(`${text.slice(0, 100)}: expected ${expected.slice(0, 200)}, found ${actual[n]!.slice(0, 200)}`);
    });
  }

  for (const filesystem of ['the share', 'tmpfs']) {
    describe(filesystem, () => {
      SCENARIOS.forEach((scenario, n) => {
        if (scenario.guest || (filesystem === 'tmpfs' && scenario.tmpfs)) return;
        it(`${scenario.subject}: ${scenario.name}`, () => check(scenario, outcomes.get(filesystem)![n]!));
      });
    });
  }
});
