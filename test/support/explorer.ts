/** One course of things, which the explorer drives: what is under way waits until {@link act} lets it go on. */
export interface World {
  /** What can happen next, in a fixed order. */
  actions(): string[];
  /** Lets one of {@link actions} happen. What follows from it by itself has happened when the microtasks are done. */
  act(action: string): void;
  /** All that the future depends on. */
  key(): string;
  /** @throws Error when something is wrong now. */
  check(): void;
  /** Called where nothing can happen any more, or everywhere: lets everything be well from now on. @throws Error when that does not help. */
  heal(): Promise<void>;
}

export interface Explored {
  states: number;
  steps: number;
  longest: number;
}

/** What went wrong, and how. */
export class Counterexample extends Error {
  constructor(trace: readonly string[], cause: Error) {
    super(`${cause.message}, after: ${trace.join('; ')}`, { cause });
  }
}

/** What has become ready goes on, and whatever that makes ready. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Every state that can be reached, each once: the same actions in the same order give the same state, so a state is reached again by
 * doing them again in a world of its own. The shortest counterexample comes first.
 *
 * @throws Counterexample
 */
export async function explore(makeWorld: () => Promise<World>): Promise<Explored> {
  const seen = new Set<string>();
  let steps = 0;
  let longest = 0;
  const reach = async (trace: readonly string[]): Promise<World> => {
    const world = await makeWorld();
    await settle();
    for (const action of trace) {
      world.act(action);
      await settle();
    }
    steps += trace.length;
    return world;
  };
  let front: string[][] = [[]];
  while (front.length) {
    const next: string[][] = [];
    for (const trace of front) {
      const world = await reach(trace);
      try {
        world.check();
      } catch (error) {
        throw new Counterexample(trace, error as Error);
      }
      const key = world.key();
      if (seen.has(key)) continue;
      seen.add(key);
      longest = trace.length;
      next.push(...world.actions().map((action) => [...trace, action]));
      try {
        await world.heal();
      } catch (error) {
        throw new Counterexample([...trace, 'all is well from now on'], error as Error);
      }
    }
    front = next;
  }
  return { states: seen.size, steps, longest };
}
