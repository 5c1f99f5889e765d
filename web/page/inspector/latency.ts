import { css, html, LitElement, nothing } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';
import type { Latency } from '../../protocol.ts';
import { controls } from '../styles.ts';
import { clockStep, formatDuration } from './format.ts';
import { Poll } from './poll.ts';
import { explained, linuxName } from './spec.ts';
import { viewStyles } from './styles.ts';

/** How long requests are in the device, by opcode. */
export class LatencyPanel extends LitElement {
  static override properties = {
    connection: { attribute: false },
    guest: { attribute: false },
    latencies: { state: true },
  };
  static override styles = [
    controls,
    viewStyles,
    css`
    .opcode { display: grid; grid-template-columns: 13ch minmax(0, 1fr); gap: 2px 12px; padding: 8px 12px; align-items: end; }
    .opcode + .opcode { border-top: 1px solid var(--border); }
    .name { font-family: var(--mono); font-size: 12px; font-weight: 600; }
    .figures { color: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
    .bars { grid-column: 2; grid-row: 1 / 3; display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 2px; height: 38px; align-items: end; }
    .bar { min-height: 1px; background: var(--border); border-radius: 2px 2px 0 0; }
    .bar[data-some] { min-height: 3px; background: var(--accent); }
    .axis { position: sticky; bottom: 0; display: grid; grid-template-columns: 13ch minmax(0, 1fr); gap: 12px; padding: 4px 12px 6px; background: var(--surface); border-top: 1px solid var(--border); font-size: 11px; color: var(--muted); }
    .axis div { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 2px; white-space: nowrap; }
    .axis span { text-align: right; }
    .note { padding: 6px 12px; font-size: 12px; color: var(--muted); border-top: 1px solid var(--border); }
  `,
  ];

  declare connection: Connection;
  declare guest: GuestView;
  declare latencies: ReadonlyMap<string, Latency>;

  constructor() {
    super();
    this.latencies = new Map();
    new Poll(this, (guest) => this.#look(guest));
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has('guest')) this.latencies = new Map();
  }

  async #look(guest: GuestView): Promise<void> {
    const latencies = await guest.api.inspector.latencies();
    const countOf = (all: ReadonlyMap<string, Latency>) => [...all.values()].reduce((sum, { count }) => sum + count, 0);
    if (guest === this.guest && countOf(latencies) !== countOf(this.latencies)) this.latencies = latencies;
  }

  override render() {
    const step = clockStep();
    if (!this.latencies.size)
      return html`<p class="empty">No requests yet. Type <span class="mono">ls -lR</span> in the terminal.</p>`;
    // What is finer than the clock is one column.
    const first = Math.max(0, Math.ceil(Math.log2(step * 1000)));
    const all = [...this.latencies]
      .map(([opcode, { count, total, buckets }]) => ({
        opcode,
        count,
        mean: total / count,
        columns: [buckets.subarray(0, first + 1).reduce((sum, n) => sum + n, 0), ...buckets.subarray(first + 1)],
      }))
      .sort((a, b) => b.count - a.count);
    const width = Math.max(3, ...all.map(({ columns }) => columns.findLastIndex((n) => n > 0) + 1));
    const limit = (column: number) => formatDuration(2 ** (first + column) / 1000, 0);
    return html`
      <div class="scroll" role="region" tabindex="0" aria-label="Latency by opcode">
        ${all.map(({ opcode, count, mean, columns }) => {
          const most = Math.max(...columns);
          const told = columns
            .slice(0, width)
            .map((n, column) => (n ? `${n} up to ${limit(column)}` : ''))
            .filter(Boolean)
            .join(', ');
          return html`<div class="opcode"><span class="name">${linuxName(`FUSE_${opcode}`, opcode)}</span><span class="figures">${count} · ${formatDuration(mean, Math.min(step, 0.001))}</span>
            <div class="bars" role="img" aria-label=${`${opcode}: ${told}`} title=${told}>${columns.slice(0, width).map((n) => html`<span class="bar" ?data-some=${n > 0} style=${`height: ${(100 * n) / most}%`}></span>`)}</div></div>`;
        })}
        <div class="axis" aria-hidden="true"><span></span><div>${Array.from({ length: width }, (_, column) => html`<span>${column % Math.ceil(width / 6) === 0 ? limit(column) : nothing}</span>`)}</div></div>
      </div>
      <p class="note">The number of requests, their mean, and how their times are distributed: from when the device takes a ${explained('request', 'request')} to its ${explained('reply', 'reply')}, with any wait for a ${explained('lock', 'lock')}.
        ${step >= 0.02 ? `This browser’s clock moves in steps of ${formatDuration(step, 0)}, so a single request may show as zero; the mean of many is right.` : nothing}</p>`;
  }
}

customElements.define('vm-latency', LatencyPanel);
