import { once } from 'node:events';
import { runKit } from './tests.ts';

// One of a test runner's processes: so many tests, each on a fork of the base that is in this directory. It says when it can begin, and when it is done.
const [store, count] = process.argv.slice(2) as [string, string];
await runKit(store, Number(count), {
  begin: async () => {
    process.send!('ready');
    await once(process, 'message');
  },
});
process.send!('done');
process.disconnect();
