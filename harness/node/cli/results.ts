import type { GuestProcess } from '../../machine/agent/guest-agent.ts';
import { JsonWriter } from '../results/json-writer.ts';
import { JunitFile } from '../results/junit-file.ts';
import { ResultStream } from '../results/result-stream.ts';
import { TapWriter } from '../results/tap-writer.ts';
import { pass, put } from './output.ts';

/** In which forms `run` tells test results. */
export interface ResultFlags {
  tap?: boolean;
  json?: boolean;
  /** A file. */
  junit?: string;
}

/**
 * Does `action`, which runs `argv` and gives its stdout to `onStdout`, and tells the test results in that in the forms that `flags` name, if any.
 *
 * @returns the exit code: that of `action`, or 1 when that is 0 and a test has failed, or none was there.
 * @throws what `action` throws.
 */
export async function tellingResults(
  argv: string[],
  { tap, json, junit }: ResultFlags,
  action: (onStdout?: GuestProcess['onStdout']) => Promise<number>,
): Promise<number> {
  if (!tap && !json && junit === undefined) return action();
  const write = (text: string) => put('stdout', text);
  const results = new ResultStream([
    ...(junit === undefined ? [] : [new JunitFile(junit, argv.join(' '))]),
    ...(tap ? [new TapWriter(write)] : json ? [new JsonWriter(write)] : []),
  ]);
  // A file takes nothing from stdout.
  const isSilent = tap || json;
  let code: number;
  try {
    code = await action((data) => {
      results.add(data);
      return isSilent ? undefined : pass('stdout', data);
    });
  } catch (error) {
    results.end({ trouble: (error as Error).message.split('\n', 1)[0] });
    throw error;
  }
  results.end({ code });
  const { count, failures } = results;
  if (!count) put('stderr', 'v86-virtiofs: the command has printed no test results, neither TAP nor KTAP\n');
  else if (failures) put('stderr', `v86-virtiofs: ${failures} of ${count} ${count === 1 ? 'test' : 'tests'} failed\n`);
  return code || (failures || !count ? 1 : 0);
}
