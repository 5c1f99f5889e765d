import { expect } from 'chai';
import { agrees, SCENARIOS, type Scenario } from '../../device/conformance/scenarios/index.ts';
import type { Vm } from '../../harness/node/vm.ts';

/** Does every scenario in `directory` of a guest; returns what each step came to. */
export async function runScenarios(vm: Vm, directory: string): Promise<string[][]> {
  const lines = SCENARIOS.flatMap(({ steps }, n) => [`scenario s${n}`, ...steps.map(({ text }) => text)]);
  const { stdout, stderr, code } = await vm.exec(['posix', directory], {
    stdin: `${lines.join('\n')}\n`,
    timeoutMs: 240_000,
  });
  expect(code, stderr).to.equal(0);
  const results = stdout.split('\n');
  expect(results, 'a line for each step').to.have.length(lines.length + 1);
  return SCENARIOS.map(({ steps }) => {
    expect(results.shift()).to.equal('ok');
    return results.splice(0, steps.length);
  });
}

/** Declares a test for each scenario that `isWanted`. */
export function declareScenarios(outcomes: () => string[][], isWanted: (scenario: Scenario) => boolean): void {
  SCENARIOS.forEach((scenario, n) => {
    if (scenario.guest || !isWanted(scenario)) return;
    it(`${scenario.subject}: ${scenario.name}`, () => {
      scenario.steps.forEach(({ text, expected }, step) => {
        const actual = outcomes()[n]![step]!;
        if (!agrees(expected, actual))
          throw new Error(`${text.slice(0, 100)}: expected ${expected.slice(0, 200)}, found ${actual.slice(0, 200)}`);
      });
    });
  });
}
