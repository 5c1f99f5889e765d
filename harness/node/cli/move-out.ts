import {
  checkToken,
  type MigrationChannel,
  MigrationError,
  type MigrationFate,
  MigrationUnknownError,
  makeToken,
  type SnapshotStore,
  settleMigration,
} from '../../../device/index.ts';
import type { GuestProcess } from '../../machine/agent/guest-agent.ts';
import { VmError } from '../../machine/errors.ts';
import { printableLines } from '../../machine/printable.ts';
import { unlessAborted } from '../../machine/unless-aborted.ts';
import type { Vm } from '../vm.ts';
import {
  checkAddress,
  type Endpoint,
  type EndpointFlags,
  fingerprintNote,
  isWaiting,
  openEndpoint,
} from './endpoint.ts';
import { OWN_FAILURE, progressReporter, type RenewalFlags } from './options.ts';

export const TOKEN_VARIABLE = 'V86_VIRTIOFS_TOKEN';
const SETTLE_ATTEMPTS = 5;
const SETTLE_INTERVAL = 1000;

export interface LinkFlags extends EndpointFlags, RenewalFlags {
  store: string;
  token?: string;
  bandwidth?: number;
  policy?: 'throttle' | 'give-up' | 'stop';
  verbose?: boolean;
}

/** What is to be done about a machine that may run elsewhere. */
function howToSettle(snapshot: string): string {
  return (
    `It is kept as ${snapshot}. When the other side can be reached, or a \`serve\` with its --store there: v86-virtiofs settle ${snapshot} --to ADDRESS\n` +
    `When not, look there, and then: v86-virtiofs settle ${snapshot} --runs-here, or --runs-there`
  );
}

interface MoveOut {
  endpoint: Endpoint;
  /** A connection that is there already. */
  first?: MigrationChannel;
  token: string;
  flags: LinkFlags;
  /** Where the machine is kept when nobody can tell what became of it. */
  store: SnapshotStore;
  /** What goes on here when it can't be moved. */
  started?: GuestProcess;
  /** Breaks it off: the machine stays here. */
  signal: AbortSignal;
}

/** Moves a machine out, and says how that went. */
export async function moveOut(
  vm: Vm,
  { endpoint, first, token, flags: { bandwidth, policy, verbose }, store, started, signal }: MoveOut,
): Promise<void> {
  const report = progressReporter(verbose);
  for (;;) {
    try {
      const { rounds, bytes, downtime } = await vm.migrate(first ?? (await unlessAborted(signal, endpoint.connect())), {
        token,
        signal,
        bandwidth: bandwidth && bandwidth * 1e6,
        policy,
        onProgress: ({ round, pages, bytes: sent }) =>
          report(`round ${round}: ${pages} pages, ${(sent / 1e6).toFixed(1)} MB sent`),
      });
      report('');
      return say(
        `moved: ${rounds} rounds, ${(bytes / 1e6).toFixed(1)} MB, the guest was paused for ${downtime.toFixed(0)} ms`,
      );
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      const fate = error instanceof MigrationUnknownError ? await askAgain(error, endpoint, token) : 'runs here';
      if (fate === 'runs there') return say('moved: the link broke during the switch, but the guest runs there');
      if (fate === 'unknown') {
        const { id } = await vm.freeze(store).catch((reason: Error) => {
          throw new VmError(
            'unsettled',
            `${error.message}\nIt can't be kept here, so it is lost unless it runs there: ${reason.message}`,
          );
        });
        throw new VmError('unsettled', `${error.message}\n${howToSettle(id.slice(0, 12))}`);
      }
      if (endpoint.address !== undefined && !signal.aborted) {
        say(`not moved: ${error.message}; it keeps running here, and the next caller can have it`);
        continue;
      }
      if (!started) {
        if (!signal.aborted) throw error;
        return say(`not moved: ${error.message}`);
      }
      say(`not moved: ${error.message}; the command keeps running here`);
      await started.exited;
      if (signal.aborted) return;
      process.exitCode = OWN_FAILURE;
      return;
    }
  }
}

/** Asks the other side what has become of the machine; `unknown` also when it can't be asked. */
async function askAgain(unknown: MigrationUnknownError, endpoint: Endpoint, token: string): Promise<MigrationFate> {
  if (endpoint.address !== undefined) return 'unknown';
  for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
    try {
      return await settleMigration(unknown, await endpoint.connect(), token);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_INTERVAL));
    }
  }
  return 'unknown';
}

/**
 * Finds whatever is wrong with a target before it is opened.
 *
 * @throws VmError `configuration`, also when the other side's token is missing; MigrationError for a token that somebody has thought of.
 */
export function checkTarget(to: string, flags: LinkFlags): { address: string; secret: string; note: string } {
  const [address, fragment] = to.split('#', 2) as [string, string?];
  const { secret, isGiven, note } = chooseToken(fragment ? { ...flags, token: fragment } : flags);
  if (!isGiven && !isWaiting(address))
    throw new VmError('configuration', `give the token that \`serve\` has, by --token or in ${TOKEN_VARIABLE}`);
  checkAddress(address, flags);
  return { address, secret, note };
}

/** @throws what {@link checkTarget} does. */
export async function openTarget(to: string, flags: LinkFlags): Promise<{ endpoint: Endpoint; token: string }> {
  const { address, secret, note } = checkTarget(to, flags);
  const endpoint = await openEndpoint(address, secret, flags);
  if (endpoint.address !== undefined) say(`waiting on ${endpoint.address}${note}${fingerprintNote(address, flags)}`);
  return { endpoint, token: secret };
}

/** The token; one that is made here is printed behind the address. @throws MigrationError for one that somebody has thought of. */
export function chooseToken({ token = process.env[TOKEN_VARIABLE] }: LinkFlags): {
  secret: string;
  isGiven: boolean;
  note: string;
} {
  const secret = token || makeToken();
  checkToken(secret);
  return { secret, isGiven: Boolean(token), note: token ? '' : `#${secret}` };
}

export function say(text: string): void {
  process.stderr.write(`${printableLines(text)}\n`);
}
