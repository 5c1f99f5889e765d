import { once } from 'node:events';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { expect } from 'chai';
import {
  MAX_MESSAGE,
  MAX_STRANGER_MESSAGE,
  type MigrationChannel,
  MigrationError,
  type PortLike,
  portChannel,
} from '../../../device/index.ts';

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

  describe('ends, and throws nowhere but where it is read, when the other side', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(8)).fill(1);
    const message = (length: number) => new Uint8Array(1 + length).fill(1);
    const wrong: [string, unknown[], RegExp][] = [
      ['posts null', [null], /something other than bytes/],
      ['posts nothing', [undefined], /something other than bytes/],
      ['posts text', ['text'], /something other than bytes/],
      ['posts what an older release would', [{ bytes: message(3) }], /something other than bytes/],
      ['posts other arrays', [new Float64Array(3)], /something other than bytes/],
      ['posts memory that it shares', [shared], /something other than bytes/],
      ['posts no bytes', [new Uint8Array(0)], /does not speak this protocol/],
      ['posts another kind of message', [Uint8Array.of(9)], /does not speak this protocol/],
      ['sends more than a stranger may', [message(MAX_STRANGER_MESSAGE + 1)], /129 bytes at once: 128 are allowed/],
      ['sends a byte of something large', [new Uint8Array(MAX_MESSAGE + 2).fill(1).subarray(0, 1)], /are allowed/],
      ['confirms what was not sent', [Uint8Array.of(2)], /confirms a message that was not sent/],
      ['keeps sending without waiting', Array.from({ length: 17 }, () => message(1)), /keeps sending without waiting/],
    ];
    for (const [what, posts, says] of wrong) {
      it(what, async () => {
        const { port1, port2 } = new MessageChannel();
        const channel = portChannel(port1 as unknown as PortLike);
        const ended = once(port1, 'message');
        for (const each of posts) port2.postMessage(each);
        await ended;
        // The rest of them is on its way.
        await new Promise((resolve) => setImmediate(resolve));
        const error = await channel.receive().catch((thrown: Error) => thrown);
        expect(error).to.be.instanceOf(MigrationError).with.property('message').that.matches(says);
        expect(await channel.send(message(1)).catch((thrown: Error) => thrown)).to.equal(error);
        channel.close();
        channel.close();
        port1.close();
      });
    }
  });

  it('takes longer messages from who was admitted, up to a limit', async () => {
    const { port1, port2 } = new MessageChannel();
    const [here, there] = [port1, port2].map((port) => portChannel(port as unknown as PortLike)) as [
      MigrationChannel,
      MigrationChannel,
    ];
    there.admit();
    await here.send(new Uint8Array(MAX_MESSAGE));
    expect((await there.receive())!.length).to.equal(MAX_MESSAGE);
    await here.send(new Uint8Array(MAX_MESSAGE + 1));
    expect(await there.receive().catch((thrown: Error) => thrown)).to.be.instanceOf(MigrationError);
    port1.close();
  });
});
