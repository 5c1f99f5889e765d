import { html, type TemplateResult } from 'lit';
import type { Connection, GuestView } from '../embed/connection.ts';
import { formatMoment } from './format.ts';

/** What goes on, in a word or two; and what else there is to say where there is room. */
interface Status {
  text: string;
  detail: string;
  /** `busy`: it will change by itself. */
  tone: 'good' | 'busy' | 'idle' | 'bad';
}

/** Of a guest, or of a page that has none. */
function statusOf(connection: Connection, guest: GuestView | undefined): Status {
  const { progress, hasFailed, isDead, move, undecided, imageTrouble, startTime, resumed } = connection;
  const status = (text: string, tone: Status['tone'], detail = ''): Status => ({ text, detail, tone });
  if (isDead) return status('Stopped', 'bad', 'the emulator has failed: reload the page');
  if (progress) return status('Starting', 'busy');
  if (!guest) return hasFailed ? status('Not started', 'bad') : status('Moved away', 'idle');
  if (undecided.has(guest.id)) return status('Paused', 'bad', 'it may run elsewhere');
  if (move) return status('Moving', 'busy');
  if (guest.power === 'booting') return status('Booting', 'busy');
  if (guest.power === 'off') return status('Halted', 'idle');
  if (guest.isAsleep) return status('Asleep', 'idle');
  if (guest.isHeld) return status('Running', 'busy', 'its device is paused');
  if (imageTrouble) return status('Waiting', 'busy', 'for files of its root filesystem');
  const details = [
    resumed !== undefined && connection.guests[0] === guest && `resumed from ${formatMoment(resumed)}`,
    startTime !== undefined && connection.guests[0] === guest && `started in ${(startTime / 1000).toFixed(1)} s`,
    !navigator.onLine && 'offline',
  ];
  return status('Running', 'good', details.filter(Boolean).join(', '));
}

/** Of the guest that the panels are about; undefined where a page has none. */
export function renderStatus(connection: Connection, guest: GuestView | undefined): TemplateResult {
  const { text, detail, tone } = statusOf(connection, guest);
  const name = guest && connection.guests.length > 1 ? `${guest.name}: ` : '';
  return html`<span class="state muted" role="status" data-tone=${tone}>${name}${text}<span class="detail">${detail && `, ${detail}`}</span></span>`;
}
