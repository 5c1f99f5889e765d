/** How a command runs, and where; {@link showMachine} shows it. */
export const EXECUTION = ['--env', 'A=b', '--workdir', 'sub', '--user', '0:0', '--timeout', '200'];

/** Every option of a machine and of a share that has a directory `sub`; what is in it is saved as `json` too. */
export const machineOptions = (share: string, json: string) => [
  ...EXECUTION,
  '--share',
  share,
  '--tag',
  'mine',
  '--size',
  '64M',
  '--no-xattr',
  '--write-back',
  '--owners',
  '--save',
  json,
  '--memory',
  '128',
  '--cmdline',
  'word=1',
  '--image-patience',
  '30',
  '--verbose',
];

/** A script that says {@link SHOWN} where all of these options work. */
export const showMachine = `echo setxattr $PWD user.a value | posix /tmp; echo $A $(pwd) $(id -u) $(grep -c word=1 /proc/cmdline) $(df -k . | tail -1 | awk '{ print $2 }') $(awk '/MemTotal/ { print ($2 < 140000) }' /proc/meminfo)`;
export const SHOWN = 'EOPNOTSUPP\nb /mnt/mine/sub 0 1 65536 1';
