import type { Command } from 'commander';
import { printable } from '../../machine/printable.ts';
import { examine, type Finding } from '../doctor.ts';
import { isAnswered } from './daemon/answer.ts';
import { DAEMON_VARIABLE, directoryOf, distrust, isTrusted, socketPath } from './daemon/place.ts';
import { OWN_FAILURE } from './options.ts';
import { put } from './output.ts';
import { addJsonOption, addStoreCommand, type StoreFlags, tellJson } from './store.ts';

/** Adds `doctor`. */
export function addDoctorCommand(program: Command): void {
  addJsonOption(
    addStoreCommand(
      program,
      'doctor',
      'say what this machine has and lacks',
      'Says what this machine has of what guests need, and what to do about what it lacks. Nothing is built, fetched or started.',
    ),
  )
    .addHelpText(
      'after',
      `
Each line begins with \`ok\`; with \`note\`, where something can't be done, or takes longer; or with \`lack\`, where guests can't run.

Examples:
  v86-virtiofs doctor
  v86-virtiofs doctor --json | jq '.findings[] | select(.state == "lack")'

The exit code is 0 unless something is lacking, and then ${OWN_FAILURE}.`,
    )
    .action(doctor);
}

async function doctor(flags: StoreFlags): Promise<void> {
  const findings = [...(await examine(flags)), await daemon()];
  const isFit = findings.every(({ state }) => state !== 'lack');
  if (flags.json) tellJson({ fit: isFit, findings });
  else for (const finding of findings) put('stdout', linesOf(finding));
  if (!isFit) process.exitCode = OWN_FAILURE;
}

function linesOf({ name, state, found, cure }: Finding): string {
  const indented = (text: string) => text.split('\n').map(printable).join('\n      ').replace(/ +$/gm, '');
  return `${state.padEnd(5)} ${name}: ${indented(found)}\n${cure === undefined ? '' : `      → ${indented(cure)}\n`}`;
}

async function daemon(): Promise<Finding> {
  const name = 'daemon';
  const path = socketPath();
  if (path === undefined)
    return {
      name,
      state: 'ok',
      found: process.getuid ? `no daemon is used: ${DAEMON_VARIABLE} is off` : 'daemons do not run on this system',
    };
  if (isTrusted(path) && (await isAnswered(path))) return { name, state: 'ok', found: `it listens at ${path}` };
  const found = `no daemon listens at ${path}`;
  const doubt = distrust(directoryOf(path));
  return doubt !== undefined && !doubt.endsWith('is not a directory')
    ? {
        name,
        state: 'note',
        found: `${found}, and one there would not be trusted: ${doubt}`,
        cure: `close the directory to others, or name another socket in ${DAEMON_VARIABLE}`,
      }
    : { name, state: 'ok', found: `${found}; \`v86-virtiofs daemon\` starts one` };
}
