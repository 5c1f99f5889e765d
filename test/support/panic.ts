/** Makes any kernel panic, for want of memory: not all have /proc/sysrq-trigger. */
export const PANIC =
  'mount -t tmpfs -o size=200% none /mnt && echo 2 > /proc/sys/vm/panic_on_oom && cat /dev/zero > /mnt/all';
