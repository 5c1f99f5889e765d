import { expect } from 'chai';
import { Progress } from '../../web/page/lessons/progress.ts';

describe('the progress of a course', () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'localStorage');
  const use = (getItem: () => string | null, setItem: (key: string, value: string) => void) =>
    Object.defineProperty(globalThis, 'localStorage', { value: { getItem, setItem }, configurable: true });
  const refuse = () => {
    throw new Error('it may keep nothing');
  };

  after(() => {
    if (before) Object.defineProperty(globalThis, 'localStorage', before);
    else Reflect.deleteProperty(globalThis, 'localStorage');
  });

  it('has what two tabs have done that are open at once', () => {
    let kept: string | null = null;
    use(
      () => kept,
      (_, value) => (kept = value),
    );
    const [one, two] = [new Progress(), new Progress()];
    one.add('', 'first', { right: 1, asked: 2 });
    two.add('', 'second', { right: 0, asked: 0 });
    two.add('https://example.org/', 'third', { right: 1, asked: 1 });
    const later = new Progress();
    expect(later.of('', 'first')).to.deep.equal({ right: 1, asked: 2 });
    expect(later.of('', 'second')).to.deep.equal({ right: 0, asked: 0 });
    expect(later.of('https://example.org/', 'third')).to.deep.equal({ right: 1, asked: 1 });
  });

  for (const [where, read] of [
    ['where nothing can be kept', refuse],
    ['where what was kept is damaged', () => '{'],
  ] as const)
    it(`lasts as long as the page ${where}`, async () => {
      use(read, refuse);
      const progress = new Progress();
      progress.add('', 'first', { right: 1, asked: 2 });
      progress.add('', 'second', { right: 0, asked: 0 });
      await progress.import(progress.export());
      expect(progress.of('', 'first')).to.deep.equal({ right: 1, asked: 2 });
      expect(progress.of('', 'second')).to.deep.equal({ right: 0, asked: 0 });
    });
});
