import { checkTree } from './check-tree.ts';
import { randomNumbers } from './hostile-driver.ts';
import { ModelFilesystem } from './model-filesystem.ts';
import { type Elsewhere, ModelSession } from './model-session.ts';
import { randomSteps } from './random-steps.ts';
import { restored } from './restored.ts';

/** One of so many steps is a comparison of everything, or a restore elsewhere, with or without one, or a state that is saved and restored beside. */
const WHOLE_EVERY = 60;
const WHOLE = ['compare', 'move', 'thaw', 'save'];
/** One of so many steps leaves some of the content elsewhere, where that can be. */
const LEAVE_EVERY = 7;

/**
 * Does random steps on a session and on a model, and compares what comes of each, and from time to time
 * everything. At random points, and in the end, the session goes on elsewhere from what was saved. On failure the steps are shortened as far as it
 * fails in the same way. `elsewhere`: where content is then, and not in the filesystem.
 */
export async function compareWithModel(
  seed: number,
  count: number,
  elsewhere?: (random: (below: number) => number) => Elsewhere,
): Promise<void> {
  const start = () => ModelSession.start(elsewhere?.(randomNumbers(seed)));
  const steps: string[] = [];
  const random = randomNumbers(seed);
  const model = new ModelFilesystem();
  const generator = randomSteps(random, model);
  const session = await start();
  for (let n = 0; n <= count; n++) {
    const step =
      n === count
        ? 'move'
        : random(WHOLE_EVERY) === 0
          ? WHOLE[random(WHOLE.length)]!
          : elsewhere && random(LEAVE_EVERY) === 0
            ? 'leave'
            : (generator.next().value as string);
    steps.push(step);
    const difference = await doStep(session, model, step);
    if (difference) {
      const shortest = await shorten(steps, start);
      throw new Error(
        `seed ${seed}, step ${n}: ${difference}\nThe shortest way to ${await fails(shortest, start)}:\n${shortest.map((line) => line.replace(/(.)\1{20,}/g, '$1…')).join('\n')}`,
      );
    }
  }
}

async function doStep(session: ModelSession, model: ModelFilesystem, step: string): Promise<string | undefined> {
  if (step === 'save') {
    try {
      restored(session.filesystem, [session.session]);
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  }
  if (step === 'leave') {
    session.leaveContent();
    return undefined;
  }
  if (step === 'thaw') {
    // Nobody looks, so that the next steps come to what is not an object yet.
    session.moveElsewhere();
    return undefined;
  }
  if (step === 'move') session.moveElsewhere();
  if (step === 'move' || step === 'compare') return compareAll(session, model);
  const actual = await session.step(step);
  const expected = model.step(step);
  // memfs has its own opinion which of several errors comes first.
  const isSame = step.startsWith('host-') ? (expected === 'ok') === (actual === 'ok') : matches(expected, actual);
  return isSame ? undefined : `${step.slice(0, 80)}: expected ${expected.slice(0, 120)}, found ${actual.slice(0, 120)}`;
}

function matches(expected: string, actual: string): boolean {
  if (!expected.startsWith('type=')) return expected === actual;
  const fields = new Set(actual.split(' '));
  return expected.split(' ').every((field) => fields.has(field));
}

async function compareAll(session: ModelSession, model: ModelFilesystem): Promise<string | undefined> {
  try {
    checkTree(session.filesystem, [session.session]);
  } catch (error) {
    return (error as Error).message;
  }
  const look = async (step: string) => {
    const [expected, actual] = [model.step(step), await session.step(step)];
    return matches(expected, actual)
      ? undefined
      : `${step}: expected ${expected.slice(0, 200)}, found ${actual.slice(0, 200)}`;
  };
  for (const path of ['.', ...model.paths()]) {
    const stat = model.step(`stat ${path}`);
    const steps = [
      `stat ${path}`,
      `listxattr ${path}`,
      ...(/type=directory/.test(stat) ? [`ls ${path}`] : /type=symlink/.test(stat) ? [`readlink ${path}`] : []),
    ];
    for (const step of steps) {
      const difference = await look(step);
      if (difference) return difference;
    }
  }
  for (const name of model.handles.keys()) {
    for (const step of [`fstat ${name}`, ...[0, 60_000, 120_000, 180_000].map((at) => `read ${name} ${at} 60000`)]) {
      const difference = model.handles.get(name)!.node.type === 'file' ? await look(step) : undefined;
      if (difference) return difference;
    }
  }
  return undefined;
}

/** Leaves out what is not needed for a failure. */
async function shorten(steps: string[], start: () => Promise<ModelSession>): Promise<string[]> {
  let shortest = steps;
  for (let length = Math.ceil(steps.length / 2); length >= 1; length = Math.floor(length / 2)) {
    for (let at = 0; at < shortest.length - 1; ) {
      const candidate = [...shortest.slice(0, at), ...shortest.slice(Math.min(at + length, shortest.length - 1))];
      if (await fails(candidate, start)) shortest = candidate;
      else at += length;
    }
  }
  return shortest;
}

async function fails(steps: string[], start: () => Promise<ModelSession>): Promise<string | undefined> {
  const model = new ModelFilesystem();
  const session = await start();
  try {
    for (const [n, step] of steps.entries()) {
      const difference = await doStep(session, model, step);
      if (difference) return n === steps.length - 1 ? difference : undefined;
    }
  } catch {
    // A handle that is not there any more.
  }
  return undefined;
}
