import { expect } from 'chai';
import type { ExecResult } from '../../harness/machine/agent/guest-agent.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { VmOptions } from '../../harness/node/vm-options.ts';

export interface TestGuest {
  readonly vm: Vm;
  /** Runs a shell command that has to succeed, in `/mnt/share` when that is mounted; returns its stdout. */
  sh(command: string, options?: { stdin?: string | Uint8Array; timeoutMs?: number }): Promise<string>;
  /** Runs a shell command that has to fail; returns what it said. */
  shFails(command: string): Promise<string>;
}

/** One guest for the tests of the surrounding `describe`, its shares mounted at their mount points. */
export function useGuest(options: VmOptions = { shares: [{ tag: 'share' }] }): TestGuest {
  let vm: Vm | undefined;
  before(async function () {
    this.timeout(300_000);
    vm = await Vm.boot(options);
    for (const { tag } of vm.shares) await vm.mount(tag);
  });
  after(() => vm?.stop());
  return {
    get vm() {
      return vm!;
    },
    sh: (command, execOptions) => runShell(vm!, command, execOptions),
    shFails: (command) => failShell(vm!, command),
  };
}

export async function runShell(
  vm: Vm,
  command: string,
  options: { stdin?: string | Uint8Array; timeoutMs?: number } = {},
): Promise<string> {
  const result = await vm.exec(command, { ...options, cwd: workingDirectory(vm) });
  expect(result.code, `${command}\n${result.stdout}${result.stderr}`).to.equal(0);
  return result.stdout;
}

async function failShell(vm: Vm, command: string): Promise<string> {
  const result: ExecResult = await vm.exec(command, { cwd: workingDirectory(vm) });
  expect(result.code, `${command} should have failed`).not.to.equal(0);
  return result.stderr;
}

function workingDirectory(vm: Vm): string {
  return vm.shares[0]?.mountPoint ?? '/';
}
