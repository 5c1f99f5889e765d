import type { RequestRecord } from './recorder.ts';

/** Of the JSON below. */
const VERSION = 1;
const MICROSECONDS = 1000;
/** The viewers show one process for each. */
const DEVICE = 1;

/**
 * Records as the JSON that Chrome's `about:tracing` and Perfetto read: a track for each virtqueue with a slice for each request, and
 * one beside it for each that waits. Times are microseconds since 1970.
 */
export function toTraceEvents(records: readonly RequestRecord[]): string {
  const name = (kind: string, tid: number, text: string) => ({
    name: kind,
    ph: 'M',
    pid: DEVICE,
    tid,
    args: { name: text },
  });
  const queues = [...new Set(records.map(({ queue }) => queue))].sort((a, b) => a - b);
  const traceEvents: object[] = [
    name('process_name', 0, 'virtio-fs'),
    ...queues.map((queue) => name('thread_name', queue, queue === 0 ? 'hiprio queue' : `request queue ${queue}`)),
  ];
  for (const {
    number,
    time,
    duration,
    hasWaited,
    queue,
    opcode,
    nodeid,
    unique,
    pid,
    error,
    written,
    args,
  } of records) {
    const event = { name: opcode, cat: 'fuse', pid: DEVICE, tid: queue, ts: time * MICROSECONDS };
    const details = {
      number,
      unique: String(unique),
      nodeid,
      process: pid,
      error,
      written: written ?? 'waits',
      ...(plain(args) as object),
    };
    if (!hasWaited) {
      traceEvents.push({ ...event, ph: 'X', dur: Math.max(duration * MICROSECONDS, 1), args: details });
      continue;
    }
    traceEvents.push({ ...event, ph: 'b', id: number, args: details });
    if (written !== undefined)
      traceEvents.push({ ...event, ph: 'e', id: number, ts: (time + duration) * MICROSECONDS });
  }
  return JSON.stringify({ traceEvents, displayTimeUnit: 'ns' });
}

/** Records as JSON: bytes in hexadecimal, 64-bit numbers as text. */
export function toJson(records: readonly RequestRecord[]): string {
  return JSON.stringify({ format: 'v86-virtiofs trace', version: VERSION, requests: records.map(plain) }, undefined, 1);
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]));
  return value;
}
