import type { PolicyOptions } from '../fuse/policy.ts';
import { expectedOf, type Feature, type Features, type Need, needsOf, unseenFields } from './features.ts';
import type { PosixSession } from './posix-session.ts';
import { agrees, FEATURE_SAMPLES, SCENARIOS, type Scenario } from './scenarios/index.ts';

/** A scenario, whichever way it is written. */
export interface Check {
  subject: string;
  name: string;
  needs: readonly Need[];
  /** Of the session that it is run on. */
  policy?: PolicyOptions;
  /** Fields of a `stat` that it would compare if a feature were there. */
  unseen?(features: Features): Map<string, Feature>;
  /** @throws Error that says what is wrong. */
  run(session: PosixSession, features: Features): Promise<void>;
}

/** Does steps up to one that comes to something else, and tells of that. */
async function findDifference(
  session: PosixSession,
  { steps }: Scenario,
  expectation: (expected: string, actual: string) => string,
): Promise<string | undefined> {
  for (const [n, { text, expected }] of steps.entries()) {
    const actual = await session.step(text);
    const wanted = expectation(expected, actual);
    if (agrees(wanted, actual)) continue;
    const before = steps.slice(0, n).map((step) => `\n  ${step.text.slice(0, 100)}`);
    const difference = `${text.slice(0, 100)}: expected ${wanted.slice(0, 200)}, found ${actual.slice(0, 200)}`;
    return before.length ? `${difference}, after${before.join('')}` : difference;
  }
  return undefined;
}

/** A share has no ACLs unless it is asked for them. */
function policyOf({ needs }: Scenario): PolicyOptions {
  return { posixAcl: needs.includes('acls') };
}

/** The scenarios that are written as steps. */
export const STEPS: readonly Check[] = SCENARIOS.filter(({ kernel }) => !kernel).map((scenario) => ({
  subject: scenario.subject,
  name: scenario.name,
  needs: needsOf(scenario),
  policy: policyOf(scenario),
  unseen: (features) => unseenFields(features, scenario),
  async run(session, features) {
    const difference = await findDifference(session, scenario, (expected, actual) =>
      expectedOf(features, expected, actual),
    );
    if (difference) throw new Error(difference);
  },
}));

/** Of each feature that a filesystem does not declare, that it does not work all the same. */
export function undeclared(features: Features): Check[] {
  if (features.readOnly) return [];
  return FEATURE_SAMPLES.filter(({ name }) => !features[name as keyof Features]).map((sample) => ({
    subject: sample.subject,
    name: sample.name,
    needs: [],
    policy: policyOf(sample),
    async run(session) {
      if (!(await findDifference(session, sample, (expected) => expected)))
        throw new Error(`${sample.name} works, and is not declared: declare it, so that it is tested`);
    },
  }));
}
