import { expect } from 'chai';
import { Recorder } from '../../device/inspect/recorder.ts';
import type { RequestRow } from '../../web/protocol/inspector.ts';
import { hasTerm, opcodeIn, parseFilter, withoutTerms, withTerm } from '../../web/protocol/request-filter.ts';
import { RequestLog } from '../../web/worker/request-log.ts';
import { FuseDriver } from '../support/fuse-driver.ts';

describe('the page: the log of requests', () => {
  describe('filters', () => {
    const ROW: RequestRow = {
      number: 7,
      time: 0,
      queue: 1,
      opcode: 'READ',
      nodeid: 3,
      pid: 42,
      about: '/a file.txt, offset 0',
      error: '',
      written: 16,
      duration: 0,
    };
    const refused: RequestRow = { ...ROW, opcode: 'LOOKUP', about: '"x" in /docs', error: 'ENOENT', pid: 4 };
    const waiting: RequestRow = { ...ROW, opcode: 'SETLKW', written: undefined, queue: 2 };
    const rows = { read: ROW, refused, waiting };

    for (const [filter, expected] of [
      ['', ['read', 'refused', 'waiting']],
      ['op:READ', ['read']],
      ['op:fuse_read', ['read']],
      ['op:READ,SETLKW', ['read', 'waiting']],
      ['op:REA*', ['read']],
      ['op:REA', []],
      ['file:DOCS', ['refused']],
      ['file:"a file"', ['read', 'waiting']],
      ['pid:4', ['refused']],
      ['node:3 queue:2', ['waiting']],
      ['error', ['refused']],
      ['error:enoent', ['refused']],
      ['error:EIO', []],
      ['-error', ['read', 'waiting']],
      ['waits', ['waiting']],
      ['-waits -error', ['read']],
      ['op:LOOKUP file:x error', ['refused']],
      ['op:READ file:x error', []],
      ['pid 42', ['read', 'waiting']],
      ['offset 0', ['read', 'waiting']],
      ['nobody:has', []],
      ['op:', []],
      ['-', []],
      ['"', ['read', 'refused', 'waiting']],
    ] as const) {
      it(`takes ${JSON.stringify(filter)} as it is meant`, () => {
        const { matches } = parseFilter(filter);
        expect(Object.entries(rows).flatMap(([name, row]) => (matches(row) ? [name] : []))).to.deep.equal(expected);
      });
    }

    it('are changed a term at a time', () => {
      expect(withTerm('file:"a b"', 'error')).to.equal('file:"a b" error');
      expect(withTerm(' ', 'error')).to.equal('error');
      expect(withoutTerms('op:READ file:"a error b" error', (term) => term === 'error')).to.equal(
        'op:READ file:"a error b"',
      );
      expect([hasTerm('a error', 'error'), hasTerm('"error"', 'error')]).to.deep.equal([true, false]);
      expect([opcodeIn('x op:read'), opcodeIn('op:READ,WRITE'), opcodeIn('')]).to.deep.equal(['READ', '', '']);
    });
  });

  function start(limit = 1000) {
    const fuse = new FuseDriver().init();
    const recorder = new Recorder(fuse);
    recorder.isOn = true;
    recorder.limit = limit;
    const log = new RequestLog(recorder, fuse.filesystem);
    const look = (filter = '', options: { isLive?: boolean; from?: number; count?: number; version?: number } = {}) =>
      log.page({ version: -1, filter, isLive: true, from: 0, count: 3, ...options });
    const lookUp = (...names: string[]) => {
      for (const name of names) fuse.send(1, 'LOOKUP', 1, name);
    };
    return { fuse, recorder, log, look, lookUp };
  }
  const numbers = (page: ReturnType<RequestLog['page']>) => page!.rows.map(({ number }) => number);

  it('gives out the newest rows, or those from an index on, and nothing when nothing is new', () => {
    const { look, lookUp } = start();
    lookUp('a', 'b', 'c', 'd', 'e');
    const page = look()!;
    expect(numbers(page)).to.deep.equal([3, 4, 5]);
    expect(page).to.include({ from: 2, total: 5, matching: 5, seen: 5 });
    expect(look('', { version: page.version })).to.equal(undefined);
    expect(numbers(look('', { isLive: false, from: 1 }))).to.deep.equal([2, 3, 4]);
    expect(numbers(look('', { isLive: false, from: 99 }))).to.deep.equal([3, 4, 5]);
  });

  it('stays as it was for who looks back, whatever comes, until it is followed again', () => {
    const { look, lookUp, log } = start(5);
    lookUp('a', 'b', 'c', 'd', 'e');
    expect(numbers(look('', { isLive: false, count: 5 }))).to.deep.equal([1, 2, 3, 4, 5]);
    lookUp('f', 'g', 'h', 'i', 'j', 'k');
    expect(numbers(look('', { isLive: false, count: 5 }))).to.deep.equal([1, 2, 3, 4, 5]);
    expect(numbers(look('file:"b"', { isLive: false }))).to.deep.equal([2]);
    expect(log.find(2)?.args).to.deep.equal({ names: ['b'] });
    expect(numbers(look('', { count: 9 }))).to.deep.equal([7, 8, 9, 10, 11]);
    expect(numbers(look('file:"b"'))).to.deep.equal([]);
    expect(numbers(look('file:"j"'))).to.deep.equal([10]);
    expect(log.find(10)?.args).to.deep.equal({ names: ['j'] });
    expect(log.find(3)).to.equal(undefined);
  });

  it('compares each request once, and those that wait again when they are answered', () => {
    const { fuse, look, lookUp } = start();
    const { nodeid, fh } = fuse.create('file');
    fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1));
    fuse.send(1, 'SETLKW', nodeid, FuseDriver.lock(fh, 2));
    lookUp('x');
    const waiting = look('waits')!;
    expect(waiting.rows.map(({ opcode }) => opcode)).to.deep.equal(['SETLKW']);
    expect(look('-waits', { count: 9 })!.rows.map(({ opcode }) => opcode)).to.deep.equal(['CREATE', 'SETLK', 'LOOKUP']);
    fuse.call('SETLK', nodeid, FuseDriver.lock(fh, 1, false));
    expect(look('-waits', { count: 9 })!.rows.map(({ opcode }) => opcode)).to.deep.equal([
      'CREATE',
      'SETLK',
      'SETLKW',
      'LOOKUP',
      'SETLK',
    ]);
    expect(look('waits')!.rows).to.deep.equal([]);
  });

  it('forgets what the recorder forgets, with a filter too', () => {
    const { look, lookUp, recorder } = start(4);
    lookUp('a', 'b', 'c');
    expect(look('op:LOOKUP')).to.include({ matching: 3 });
    lookUp('d', 'e', 'f');
    expect(look('op:LOOKUP')).to.include({ matching: 4, total: 4, seen: 6, limit: 4 });
    recorder.clear();
    expect(look('op:LOOKUP', { isLive: false })).to.include({ matching: 0, total: 0 });
    lookUp('g');
    expect(numbers(look('op:LOOKUP'))).to.deep.equal([7]);
    recorder.limit = 1;
    lookUp('h', 'i');
    expect(numbers(look('op:LOOKUP'))).to.deep.equal([9]);
  });

  it('leads from one that matches to the next, from the ends, and from one that matches no more', () => {
    const { log, lookUp, fuse } = start();
    lookUp('a', 'b');
    fuse.call('GETATTR', 1);
    lookUp('c');
    const seek = (number: number | undefined, by: number) => log.seek('op:LOOKUP', number, by);
    expect(seek(undefined, 1)).to.deep.equal({ number: 1, index: 0 });
    expect(seek(undefined, -1)).to.deep.equal({ number: 4, index: 2 });
    expect(seek(2, 1)).to.deep.equal({ number: 4, index: 2 });
    expect(seek(4, 1)).to.deep.equal({ number: 4, index: 2 });
    expect(seek(4, -10)).to.deep.equal({ number: 1, index: 0 });
    expect(log.seek('op:NONE', 2, 1)).to.equal(undefined);
  });
});
