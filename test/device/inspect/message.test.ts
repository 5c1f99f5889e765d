import { expect } from 'chai';
import { type MessageField, replyFields, requestFields } from '../../../device/inspect/message.ts';
import { Recorder } from '../../../device/inspect/recorder.ts';
import { message } from '../../support/fuse-call.ts';
import { FUSE, FuseDriver } from '../../support/fuse-driver.ts';

const told = (fields: MessageField[]) => Object.fromEntries(fields.map(({ name, value }) => [name, value]));
/** Every byte is of one field at most, and those of header and structs of one. */
function expectWhole(fields: MessageField[], length: number): void {
  let at = 0;
  for (const { name, offset, length: size } of fields) {
    expect(offset, name).to.be.within(at, at + 7);
    at = offset + size;
  }
  expect(at).to.be.within(length - 7, length);
}

describe('fields of FUSE messages', () => {
  it('of a header and a name', () => {
    const bytes = message(FUSE.LOOKUP, 6n, 1, 'näme');
    const fields = requestFields(bytes);
    expectWhole(fields, bytes.length);
    expect(fields[1]).to.deep.equal({
      struct: 'fuse_in_header',
      name: 'opcode',
      offset: 4,
      length: 4,
      value: '1 LOOKUP',
    });
    expect(fields.at(-1)).to.deep.equal({ struct: '', name: 'name', offset: 40, length: 6, value: '"näme"' });
    expect(told(fields)).to.include({ len: '46', unique: '6', nodeid: '1', pid: '1' });
  });

  it('of a struct with names, modes and flags', () => {
    const fields = requestFields(message(FUSE.CREATE, 6n, 1, 0x8241, 0o100644, 0o22, 0, 'file'));
    expect(told(fields)).to.include({ flags: '0x8241', mode: '0100644', umask: '022', name: '"file"' });
  });

  it('of structs within structs', () => {
    const fields = requestFields(message(FUSE.SETLK, 6n, 2, ...FuseDriver.lock(7n, 1)));
    expect(told(fields)).to.include({ fh: '7', owner: '0x1', 'lk.type': '1', 'lk.pid': '101' });
  });

  it('of data, with what it begins with', () => {
    const fields = requestFields(message(FUSE.WRITE, 6n, 2, 7n, 0n, 5, 0, 0n, 0, 0, Buffer.from('hello')));
    expect(fields.at(-1)).to.deep.equal({ struct: '', name: 'data', offset: 80, length: 5, value: '"hello"' });
  });

  it('of SETXATTR as long as INIT settled on', () => {
    const short = message(FUSE.SETXATTR, 6n, 2, 1, 0, 'user.a', Buffer.from('v'));
    expect(told(requestFields(short))).to.include({ name: '"user.a"', data: '"v"' });
    const long = message(FUSE.SETXATTR, 6n, 2, 1, 0, 0, 0, 'user.a', Buffer.from('v'));
    expect(told(requestFields(long, 1n << 29n))).to.include({ name: '"user.a"', data: '"v"' });
  });

  it('of lists', () => {
    const fields = requestFields(message(FUSE.BATCH_FORGET, 6n, 0, 2, 0, 5n, 1n, 6n, 3n));
    expect(
      fields.filter(({ struct }) => struct === 'fuse_forget_one').map(({ name, value }) => [name, value]),
    ).to.deep.equal([
      ['nodeid', '5'],
      ['nlookup', '1'],
      ['nodeid', '6'],
      ['nlookup', '3'],
    ]);
  });

  it('of messages that are cut off, or none', () => {
    const whole = message(FUSE.CREATE, 6n, 1, 0, 0, 0, 0, 'file');
    for (let length = 0; length < whole.length; length++) {
      for (const { offset, length: size } of requestFields(whole.subarray(0, length)))
        expect(offset + size).to.be.at.most(length);
    }
    expect(requestFields(message(4999, 6n, 1, 1, 2, 3)).map(({ struct }) => struct)).to.not.include('');
  });

  describe('of replies', () => {
    function record(
      files: Record<string, string>,
      run: (fuse: FuseDriver) => void,
    ): { request: Uint8Array; reply: Uint8Array } {
      const fuse = new FuseDriver({ files }).init();
      const recorder = new Recorder(fuse);
      recorder.isOn = true;
      run(fuse);
      return recorder.records.at(-1)!;
    }

    it('errors have their names', () => {
      const { request, reply } = record({}, (fuse) => fuse.call(FUSE.LOOKUP, 1, 'nobody'));
      expect(replyFields(reply, request).map(({ name, value }) => [name, value])).to.deep.equal([
        ['len', '16'],
        ['error', '-2 ENOENT'],
        ['unique', '4'],
      ]);
    });

    it('structs', () => {
      const { request, reply } = record({ '/file': 'content' }, (fuse) => fuse.call(FUSE.LOOKUP, 1, 'file'));
      const fields = replyFields(reply, request);
      expectWhole(fields, reply.length);
      expect(told(fields)).to.include({ error: '0', 'attr.size': '7' });
    });

    it('directory entries', () => {
      const { request, reply } = record({ '/first': '', '/second-name': '' }, (fuse) => {
        const fh = fuse.call(FUSE.OPENDIR, 1, 0, 0).getBigUint64(0, true);
        fuse.call(FUSE.READDIR, 1, fh, 0n, 200, 0, 0n, 0, 0);
      });
      const fields = replyFields(reply, request);
      expect(fields.filter(({ name }) => name === 'name').map(({ value }) => value)).to.deep.equal([
        '"."',
        '".."',
        '"first"',
        '"second-name"',
      ]);
    });

    it('data', () => {
      const { request, reply } = record({ '/file': 'content' }, (fuse) => {
        const nodeid = fuse.call(FUSE.LOOKUP, 1, 'file').getBigUint64(0, true);
        const fh = fuse.call(FUSE.OPEN, Number(nodeid), 0, 0).getBigUint64(0, true);
        fuse.call(FUSE.READ, Number(nodeid), fh, 0n, 100, 0, 0n, 0, 0);
      });
      expect(told(replyFields(reply, request))).to.include({ error: '0', data: '"content"' });
    });
  });
});
