/**
 * The kernel command line for a guest in v86: console on the first UART, the clock v86 really has,
 * and none of the self-tests and setup steps that cost seconds there and bring nothing.
 */
export const KERNEL_CMDLINE = [
  'console=ttyS0',
  'quiet',
  'tsc=reliable',
  'mitigations=off',
  'random.trust_cpu=on',
  'cryptomgr.notests',
  'initcall_blacklist=load_system_certificate_list,init_kprobe_trace,isapnp_init,crypto_kdf108_init,netns_bpf_init',
].join(' ');
