import { expect } from 'chai';
import { Connection } from '../../web/embed/connection.ts';
import { movedAt } from '../../web/embed/links.ts';
import { useFakeWorker } from './fake-worker.ts';

describe('the page’s end of its worker', () => {
  const fake = useFakeWorker();

  async function start(): Promise<Connection> {
    const connection = new Connection();
    await connection.start({ base: 'https://example.org/guest/', store: 'snapshots' });
    return connection;
  }

  for (const hasStore of [true, false])
    it(`remembers that its last guest has moved away ${hasStore ? 'for a reload' : 'for no reload where another tab has the store'}`, async () => {
      fake.behaviour = { result: { hasStore } };
      const connection = await start();
      const moved = Promise.resolve({ outcome: 'moved' as const, began: 42 });
      await connection.moveOut(connection.guests[0]!, moved, 'in another tab');
      expect(connection.guests).to.deep.equal([]);
      expect(movedAt('snapshots')).to.equal(hasStore ? 42 : 0);
    });
});
