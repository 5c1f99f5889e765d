import { fuzzAgent } from './hostile-agent.ts';
import { fuzzBodies } from './hostile-bodies.ts';
import { fuzzCreditChannel, fuzzDuplexChannel } from './hostile-channels.ts';
import { randomNumbers } from './hostile-driver.ts';
import { fuzzPage } from './hostile-page.ts';
import { type Outcomes, turn } from './hostile-values.ts';

/** Sends all readers of what others say `messages` messages together. Throws at the first thing that is not as it must be. */
export async function fuzzPeers(seed: number, messages: number): Promise<Map<string, Outcomes>> {
  const random = randomNumbers(seed);
  const readers = { fuzzAgent, fuzzCreditChannel, fuzzDuplexChannel, fuzzBodies, fuzzPage };
  const shares: Record<keyof typeof readers, number> = {
    fuzzAgent: 0.4,
    fuzzCreditChannel: 0.2,
    fuzzDuplexChannel: 0.1,
    fuzzBodies: 0.15,
    fuzzPage: 0.15,
  };
  const outcomes = new Map<string, Outcomes>();
  let stray: unknown;
  const notice = (error: unknown) => (stray ??= error);
  process.on('unhandledRejection', notice).on('uncaughtException', notice);
  try {
    for (const [name, fuzz] of Object.entries(readers)) {
      outcomes.set(name, await fuzz(random, Math.ceil(messages * shares[name as keyof typeof readers])));
      await turn();
      if (stray) throw new Error(`${name}: nobody has caught ${String(stray)}`, { cause: stray });
    }
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  } finally {
    process.off('unhandledRejection', notice).off('uncaughtException', notice);
  }
  return outcomes;
}
