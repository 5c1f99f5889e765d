/**
 * Steps of the boot that cost an emulator more than they give: certificates and self-tests of
 * cryptography that nobody calls, ISA Plug and Play, machine checks that v86 has none of, and the
 * files of tracefs, which take a sixth of the boot and 6 MiB.
 */
const SKIPPED_INITCALLS = [
  'load_system_certificate_list',
  'crypto_kdf108_init',
  'blake2s_mod_init',
  'isapnp_init',
  'mcheck_init_device',
  'netns_bpf_init',
  'init_kprobe_trace',
  'tracer_init_tracefs',
  'trace_eval_init',
  'ftrace_check_for_weak_functions',
];

/** A guest that panics resets the machine at once, in the way that {@link ../guest-end.ts} tells from a reboot. */
const PANIC = ['panic=-1', 'reboot=panic_warm'];

const WORDS = [
  'console=ttyS0',
  'quiet',
  // The clock that v86 really has.
  'tsc=reliable',
  'mitigations=off',
  'random.trust_cpu=on',
  'cryptomgr.notests',
  // Pressure stall information: a twelfth of what a request to a device costs.
  'psi=0',
  // Safety nets that cost each page and each copy something: two to five hundredths of everything.
  'init_on_alloc=0',
  'hardened_usercopy=off',
  'cgroup_disable=memory',
  // Debian's, without those that do nothing until a policy is loaded.
  'lsm=landlock,lockdown,yama,integrity',
  'noreplace-smp',
  // A frozen guest did not hang.
  'nowatchdog',
  ...PANIC,
];

/**
 * The kernel command line for a guest in v86: console on the first UART, and none of the self-tests
 * and setup steps that cost seconds there. `more` goes behind, where most words take the place of
 * earlier ones of the same name; an `initcall_blacklist=` there replaces this one.
 */
export function kernelCmdline(more = ''): string {
  const skipped = /\binitcall_blacklist=/.test(more) ? [] : [`initcall_blacklist=${SKIPPED_INITCALLS}`];
  return [...WORDS, ...skipped, more].filter(Boolean).join(' ');
}

export const KERNEL_CMDLINE = kernelCmdline();
