import { expect } from 'chai';
import { statusOf } from '../../web/page/status.ts';

type Told = Parameters<typeof statusOf>[0];
type Guest = NonNullable<Parameters<typeof statusOf>[1]>;

const GUEST: Guest = { id: 1, power: 'on', isAsleep: false, isHeld: false };

describe('the page: the status', () => {
  const told = (changed: Partial<Told>): Told => ({
    progress: undefined,
    hasFailed: false,
    isDead: false,
    move: undefined,
    undecided: new Set(),
    imageTrouble: undefined,
    startTime: undefined,
    resumed: undefined,
    guests: [GUEST],
    ...changed,
  });

  for (const [expected, tone, connection, guest] of [
    ['Starting', 'busy', { progress: { what: 'boot' } }, undefined],
    ['Not started', 'bad', { hasFailed: true, guests: [] }, undefined],
    ['Moved away', 'idle', { guests: [] }, undefined],
    ['Running', 'good', {}, {}],
    ['Running', 'busy', {}, { isHeld: true }],
    ['Running', 'busy', {}, { root: { isHeld: true } }],
    ['Booting', 'busy', {}, { power: 'booting' }],
    ['Halted', 'idle', {}, { power: 'off' }],
    ['Halted', 'idle', {}, { power: 'off', hasCrashed: false }],
    ['Crashed', 'bad', {}, { power: 'off', hasCrashed: true }],
    ['Asleep', 'idle', {}, { isAsleep: true }],
    ['Moving', 'busy', { move: { guest: 1, bytes: 5 } }, {}],
    ['Running', 'good', { move: { guest: 2, bytes: 5 } }, {}],
    ['Running', 'good', { move: { bytes: 5 } }, {}],
    ['Paused', 'bad', { undecided: new Set([1]) }, {}],
    ['Waiting', 'busy', { imageTrouble: { message: '' } }, {}],
    ['Stopped', 'bad', { isDead: true }, {}],
    ['Stopped', 'bad', { isDead: true }, { power: 'booting' }],
  ] as [string, string, Partial<Told>, Partial<Guest> | undefined][])
    it(`is ${expected} with ${JSON.stringify({ ...connection, ...guest })}`, () => {
      const status = statusOf(told(connection), guest && { ...GUEST, ...guest });
      expect(status).to.include({ text: expected, tone });
    });
});
