import { agrees, SCENARIOS } from '../posix/scenarios/index.ts';
import { PosixSession } from '../support/posix-session.ts';

describe('POSIX scenarios at a session', () => {
  let session: PosixSession;

  before(() => {
    session = new PosixSession();
  });

  SCENARIOS.forEach(({ subject, name, kernel, steps }, n) => {
    if (kernel) return;
    it(`${subject}: ${name}`, async () => {
      session.begin(`s${n}`);
      for (const { text, expected } of steps) {
        const actual = await session.step(text);
        if (!agrees(expected, actual))
          throw new Error(`${text.slice(0, 100)}: expected ${expected.slice(0, 200)}, found ${actual.slice(0, 200)}`);
      }
    });
  });
});
