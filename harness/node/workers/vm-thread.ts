import type { Outcome, Task } from './messages.ts';

/** What the pool runs in a thread: one machine, until it is given back. The command line's threads load what its main thread does, from the same files. */
export default async function vmThread(task: Task): Promise<Outcome> {
  const { serve } = await import('./served-vm.ts');
  return serve(task);
}
