import { expect } from 'chai';
import { forgets, message } from '../../../device/conformance/message.ts';
import { type MessageField, replyFields, requestFields } from '../../../device/inspect/message.ts';
import { Recorder } from '../../../device/inspect/recorder.ts';
import { FuseDriver } from '../../support/fuse-driver.ts';

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
    const bytes = message('LOOKUP', { unique: 6n, nodeid: 1 }, 'näme');
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
    const fields = requestFields(
      message('CREATE', { unique: 6n, nodeid: 1 }, { flags: 0x8241, mode: 0o100644, umask: 0o22 }, 'file'),
    );
    expect(told(fields)).to.include({ flags: '0x8241', mode: '0100644', umask: '022', name: '"file"' });
  });

  it('of structs within structs', () => {
    const fields = requestFields(message('SETLK', { unique: 6n, nodeid: 2 }, FuseDriver.lock(7, 1)));
    expect(told(fields)).to.include({ fh: '7', owner: '0x1', 'lk.type': '1', 'lk.pid': '101' });
  });

  it('of data, with what it begins with', () => {
    const fields = requestFields(
      message('WRITE', { unique: 6n, nodeid: 2 }, { fh: 7n, size: 5 }, Buffer.from('hello')),
    );
    expect(fields.at(-1)).to.deep.equal({ struct: '', name: 'data', offset: 80, length: 5, value: '"hello"' });
  });

  it('of SETXATTR as long as INIT settled on', () => {
    const short = message('SETXATTR', { unique: 6n, nodeid: 2 }, { size: 1 }, 'user.a', Buffer.from('v'));
    expect(told(requestFields(short))).to.include({ name: '"user.a"', data: '"v"' });
    const long = message('SETXATTR_EXT', { unique: 6n, nodeid: 2 }, { size: 1 }, 'user.a', Buffer.from('v'));
    expect(told(requestFields(long, 1n << 29n))).to.include({ name: '"user.a"', data: '"v"' });
  });

  it('of lists', () => {
    const fields = requestFields(
      message('BATCH_FORGET', { unique: 6n, nodeid: 0 }, { count: 2 }, ...forgets([5, 1], [6, 3])),
    );
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
    const whole = message('CREATE', { unique: 6n, nodeid: 1 }, 'file');
    for (let length = 0; length < whole.length; length++) {
      for (const { offset, length: size } of requestFields(whole.subarray(0, length)))
        expect(offset + size).to.be.at.most(length);
    }
    expect(
      requestFields(message(4999, { unique: 6n, nodeid: 1 }, Uint8Array.of(1, 2, 3))).map(({ struct }) => struct),
    ).to.not.include('');
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
      const { request, reply } = record({}, (fuse) => fuse.call('LOOKUP', 1, 'nobody'));
      expect(replyFields(reply, request).map(({ name, value }) => [name, value])).to.deep.equal([
        ['len', '16'],
        ['error', '-2 ENOENT'],
        ['unique', '4'],
      ]);
    });

    it('structs', () => {
      const { request, reply } = record({ '/file': 'content' }, (fuse) => fuse.call('LOOKUP', 1, 'file'));
      const fields = replyFields(reply, request);
      expectWhole(fields, reply.length);
      expect(told(fields)).to.include({ error: '0', 'attr.size': '7' });
    });

    it('directory entries', () => {
      const { request, reply } = record({ '/first': '', '/second-name': '' }, (fuse) => {
        const fh = fuse.call('OPENDIR', 1).fh;
        fuse.call('READDIR', 1, { fh, size: 200 });
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
        const nodeid = fuse.call('LOOKUP', 1, 'file').nodeid;
        const fh = fuse.call('OPEN', Number(nodeid)).fh;
        fuse.call('READ', Number(nodeid), { fh, size: 100 });
      });
      expect(told(replyFields(reply, request))).to.include({ error: '0', data: '"content"' });
    });
  });
});
