import { html, nothing } from 'lit';

/** A guest that the visitor can choose. */
export interface Choice {
  name: string;
  /** Where its `guest.json` is. */
  src: string;
}

const PARAMETER = 'guest';
const REMEMBERED = 'v86-virtiofs guest';
/** Those that `npm run web` builds. */
const LABELS: Record<string, string> = { debian: 'Debian', busybox: 'BusyBox' };

/** Reads `NAME=SRC NAME=SRC …`. */
export function readChoices(guests: string | undefined): Choice[] {
  return (guests ?? '')
    .split(/\s+/)
    .map((item) => /^([\w-]+)=(.+)$/.exec(item))
    .flatMap((match) => (match ? [{ name: match[1]!, src: match[2]! }] : []));
}

/** The one that the page's address names, or the visitor has chosen before, or the first. */
export function chosen(choices: readonly Choice[]): Choice | undefined {
  const named = (name: string | null) => choices.find((choice) => choice.name === name);
  return named(new URLSearchParams(location.search).get(PARAMETER)) ?? named(remembered()) ?? choices[0];
}

/** The page with another guest. */
function choose(name: string): void {
  try {
    localStorage.setItem(REMEMBERED, name);
  } catch {
    // The address says it too.
  }
  const url = new URL(location.href);
  url.searchParams.set(PARAMETER, name);
  url.hash = '';
  location.assign(url);
}

function remembered(): string | null {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    // Sandboxed frames have none.
    return null;
  }
}

export function renderChoice(choices: readonly Choice[], current: Choice | undefined) {
  if (choices.length < 2) return nothing;
  return html`<select aria-label="Guest" title="Guest: each has snapshots of its own" @change=${(event: Event) => choose((event.target as HTMLSelectElement).value)}>
    ${choices.map(({ name }) => html`<option value=${name} ?selected=${name === current?.name}>${LABELS[name] ?? name}</option>`)}
  </select>`;
}
