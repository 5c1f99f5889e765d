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

  it('tells of no progress after the start, whatever is fetched then', async () => {
    const steps: string[] = [];
    const connection = new Connection();
    connection.addEventListener('progress', ({ detail }: CustomEventInit) => steps.push(detail.what));
    fake.behaviour = { start: (_, page) => page.progress({ what: 'guest' }) };
    await connection.start({ base: 'https://example.org/guest/' });
    await fake.made[0]!.page.progress({ what: 'snapshot' });
    expect(steps).to.deep.equal(['guest']);
    expect(connection.progress).to.equal(undefined);
  });

  it('does not wait for files of a root any more when the guest got an error in their place', async () => {
    const connection = await start();
    const { page } = fake.made[0]!;
    await page.imageTrouble({ message: 'the network is gone', retryIn: 1000 });
    expect(connection.imageTrouble?.message).to.equal('the network is gone');
    await page.imageTrouble({ message: 'the network is gone', retryIn: undefined });
    expect(connection.imageTrouble).to.equal(undefined);
    expect(connection.problems).to.deep.equal(['Files of the guest’s root can’t be read: the network is gone']);
  });

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
