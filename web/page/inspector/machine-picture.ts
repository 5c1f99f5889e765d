import { css, html, nothing, svg, type TemplateResult } from 'lit';
import type { QueueView, WalkStep } from '../../protocol.ts';

/** Places of a ring that are drawn, and how many of them lie before its index. */
const PLACES = 16;
const BEFORE = 11;
const TURN = 360 / PLACES;
const RADIUS = 46;
const U16 = 0x10000;

/** Where the indices were when a request was waiting: what it has changed is drawn step by step. */
export interface Base {
  /** The device's place in the available ring. */
  avail: number;
  used: number;
}

type Part = 'buffers' | 'table' | 'available' | 'used';

/** Who does what in each stage: reads or writes a part of RAM, or tells the other. */
const DOINGS: Record<WalkStep['stage'], { who: 'driver' | 'device'; does: string; part?: Part }> = {
  message: { who: 'driver', does: 'writes', part: 'buffers' },
  available: { who: 'driver', does: 'writes', part: 'available' },
  kick: { who: 'driver', does: 'kicks' },
  descriptors: { who: 'device', does: 'reads', part: 'table' },
  request: { who: 'device', does: 'reads', part: 'buffers' },
  answer: { who: 'device', does: 'writes', part: 'buffers' },
  used: { who: 'device', does: 'writes', part: 'used' },
  interrupt: { who: 'device', does: 'interrupts' },
};
const ORDER = Object.keys(DOINGS) as WalkStep['stage'][];

export function baseOf({ device, used }: QueueView): Base {
  return { avail: device?.next_avail ?? 0, used: used?.idx ?? device?.next_used ?? 0 };
}

/** RAM between driver and device: what is read or written in this step, and the rings as they are then. */
export function machinePicture(queue: QueueView, base: Base, step: WalkStep): TemplateResult {
  const { who, does, part } = DOINGS[step.stage];
  const isPast = (stage: WalkStep['stage']) => ORDER.indexOf(step.stage) >= ORDER.indexOf(stage);
  const { size, avail, used, descriptors, isPacked, entries } = queue;
  const taken = base.avail + Number(isPast('descriptors'));
  const heads = new Map(avail?.ring.map(({ at, head }) => [at, String(head)]));
  const ids = new Map(used?.ring.map(({ at, id }) => [at, String(id)]));
  const place = (name: Part, label: string, content: unknown) =>
    html`<div class="place" data-mark=${name} ?data-now=${part === name}><small>${label}</small>${content}</div>`;
  const actor = (name: 'driver' | 'device', label: string, note: string) =>
    html`<div class="actor" data-mark=${name} ?data-now=${who === name}><b>${label}</b><small>${note}</small>${who === name ? html`<em>${does}</em>` : nothing}</div>`;
  const chain = step.descriptor ? [step.descriptor] : descriptors.slice(0, 1);
  return html`<section class="machine" data-who=${who} ?data-across=${!part} aria-label="Driver, RAM and device">
    ${actor('driver', 'Driver', 'the guest’s kernel')}
    <div class="ram" data-mark="ram"><small class="title">Guest RAM</small>
      ${place('buffers', 'Buffers', html`<span class="mono">request, room for the answer</span>`)}
      ${place('table', isPacked ? 'Descriptor' : 'Descriptor table', html`<span class="mono">${chain.map(({ index, len, flags }) => `#${index}: ${len} bytes${flags.length ? `, ${flags.join(' ')}` : ''}`)}</span>`)}
      ${
        isPacked
          ? place(
              'available',
              'Packed ring',
              wheel(taken % size, size, taken % size, (at) => ['', 'A', '…'][entries[at] ?? 0]!),
            )
          : html`<div class="rings">${place(
              'available',
              `Available: idx ${isPast('available') ? (avail?.idx ?? 0) : base.avail}`,
              wheel(isPast('available') ? (avail?.idx ?? 0) : base.avail, size, taken, (at) => heads.get(at) ?? ''),
            )}
        ${place(
          'used',
          `Used: idx ${(base.used + Number(isPast('used'))) % U16}`,
          wheel(base.used + Number(isPast('used')), size, undefined, (at) => ids.get(at) ?? ''),
        )}</div>`
      }
    </div>
    ${actor('device', 'Device', 'virtio-fs, on this page')}
    <span class="packet" aria-hidden="true"></span>
  </section>`;
}

/** A ring that turns under its index, which is at the top. `taken`: how far the device has come. */
function wheel(idx: number, size: number, taken: number | undefined, textAt: (at: number) => string): TemplateResult {
  const first = idx - BEFORE;
  const cells = Array.from({ length: PLACES }, (_, n) => {
    const position = first + n;
    const at = ((position % size) + size) % size;
    const isWaiting = taken !== undefined && position >= taken && position < idx;
    // Places stay where they are on the ring, which turns.
    const angle = position * TURN;
    const isFree = position >= idx || (taken === undefined ? position < idx - BEFORE : false);
    return svg`<g transform="rotate(${angle})"><circle class=${isWaiting ? 'waiting' : isFree ? 'free' : 'done'} cy=${-RADIUS} r="8" />
      <text y=${-RADIUS} transform="rotate(${(idx - position) * TURN} 0 ${-RADIUS})" dy="3">${isFree ? '' : textAt(at)}</text></g>`;
  });
  return html`<svg class="wheel" viewBox="-62 -66 124 128" role="img" aria-label=${`index ${idx}`}>
    <g class="turning" style=${`transform: rotate(${-idx * TURN}deg)`}>${cells}</g>
    ${svg`<path class="hand" d="M -5 -64 L 5 -64 L 0 -57 z" /><text class="idx" y="4">${((idx % U16) + U16) % U16}</text>`}</svg>`;
}

export const machineStyles = css`
  .machine { position: relative; display: grid; grid-template-columns: 74px minmax(0, 1fr) 74px; gap: 22px; align-items: center; }
  .machine small { display: block; font-size: 11px; color: var(--muted); }
  .actor { padding: 10px 6px; border: 1.5px solid var(--border); border-radius: 8px; text-align: center; font-size: 12.5px; }
  .actor[data-now] { border-color: var(--accent); background: var(--accent-soft); }
  .actor em { display: block; font-style: normal; font-weight: 600; color: var(--accent); }
  .ram { display: grid; gap: 6px; padding: 6px 8px 8px; border: 1.5px solid var(--border); border-radius: 8px; background: var(--raised); }
  .place { padding: 3px 8px 4px; border: 1.5px solid var(--border); border-radius: 6px; background: var(--surface); font-size: 12px; overflow: hidden; }
  .place[data-now] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
  .rings { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 6px; }
  .rings small { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .wheel { display: block; width: 100%; max-width: 150px; margin: 0 auto; }
  .wheel circle { stroke: var(--border); fill: var(--hover); transition: fill .3s; }
  .wheel .waiting { fill: var(--accent); stroke: var(--accent); }
  .wheel .free { fill: none; stroke-dasharray: 2 2; }
  .wheel text { text-anchor: middle; font: 8px var(--mono); fill: var(--text); }
  .wheel .waiting + text { fill: var(--on-accent); }
  .wheel .idx { font: 600 16px var(--sans); }
  .wheel .hand { fill: var(--accent); }
  .wheel .turning { transition: transform .45s ease; }
  .packet { position: absolute; top: 50%; left: 80px; width: 10px; height: 10px; margin-top: -5px; border-radius: 50%; background: var(--accent); animation: to-ram .9s ease-in-out infinite; }
  .machine[data-who='device'] .packet { left: auto; right: 80px; animation-name: from-device; }
  .machine[data-across] .packet { animation-name: across; animation-duration: 1.4s; }
  .machine[data-across][data-who='device'] .packet { animation-name: back; }
  @keyframes to-ram { from { transform: translateX(-8px); opacity: 0; } 40% { opacity: 1; } to { transform: translateX(14px); opacity: 0; } }
  @keyframes from-device { from { transform: translateX(8px); opacity: 0; } 40% { opacity: 1; } to { transform: translateX(-14px); opacity: 0; } }
  @keyframes across { from { transform: translateX(0); opacity: 1; } to { transform: translateX(240px); opacity: 0; } }
  @keyframes back { from { transform: translateX(0); opacity: 1; } to { transform: translateX(-240px); opacity: 0; } }
  @media (prefers-reduced-motion: reduce) { .packet { display: none; } }
  @container (max-width: 420px) { .machine { grid-template-columns: 56px minmax(0, 1fr) 56px; gap: 10px; } .actor { padding: 6px 2px; font-size: 11px; } .actor small { display: none; } .rings small { white-space: normal; } }
`;
