import { expect } from 'chai';
import { once } from 'node:events';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { portChannel, type PortLike } from '../../../device/index.ts';

/** Node has it since 18.1; its types don't. */
const keepsAlive = (port: MessagePort) => (port as MessagePort & { hasRef(): boolean }).hasRef();

describe('channel over a message port', () => {
  it('keeps no process alive when either side has closed it', async () => {
    const { port1, port2 } = new MessageChannel();
    const [here, there] = [port1, port2].map((port) => portChannel(port as unknown as PortLike));
    await here!.send(Uint8Array.of(1, 2, 3));
    expect(await there!.receive()).to.deep.equal(Uint8Array.of(1, 2, 3));
    expect([keepsAlive(port1), keepsAlive(port2)]).to.deep.equal([true, true]);
    here!.close();
    expect(await there!.receive()).to.equal(undefined);
    expect([keepsAlive(port1), keepsAlive(port2)]).to.deep.equal([false, false]);
    port1.close();
    await once(port2, 'close');
  });
});
