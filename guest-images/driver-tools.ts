import { delimiter, join } from 'node:path';
import { GuestImageError } from './errors.ts';
import { cacheDirectory } from './paths.ts';
import { missingPrograms } from './programs.ts';

/** What a kernel or its modules are built with. */
export const BUILD_PROGRAMS = ['gcc', 'make', 'ld', 'strip'];
/** What `setpriv` is given for `make`, which goes on for minutes when who called it is killed, unless the kernel tells it. */
export const MAKE = ['--pdeathsig', 'TERM', 'make'];
/** Debian packages that make a gcc for machines that have none. */
const GCC_PACKAGES = [
  'gcc-12',
  'cpp-12',
  'libgcc-12-dev',
  'binutils-x86-64-linux-gnu',
  'binutils',
  'libbinutils',
  'libctf0',
  'libctf-nobfd0',
  'libjansson4',
  'libisl23',
  'libmpc3',
  'libmpfr6',
  'libgmp10',
  'libzstd1',
  'zlib1g',
  'make',
];
const ALWAYS = ['patch', 'xz-utils'];

/** What it takes to build a kernel module for 32-bit x86. */
export interface BuildTools {
  /** Debian packages of the machine's architecture, to be unpacked below `root`. */
  packages: string[];
  /** For `make`. */
  cc: string;
  environment(root: string): NodeJS.ProcessEnv;
}

/**
 * The machine's gcc and make, or Debian's.
 *
 * @throws GuestImageError on a machine whose gcc does not make code for x86.
 */
export function findBuildTools(hostArchitecture: string, path = process.env['PATH'] ?? ''): BuildTools {
  if (hostArchitecture !== 'amd64') {
    throw new GuestImageError(
      `Kernels and their drivers are built by a compiler for x86, on Debian's architecture amd64; this machine is ${hostArchitecture}. Build on another machine and copy its ${cacheDirectory()} here.`,
    );
  }
  if (!missingPrograms(BUILD_PROGRAMS, path).length) {
    return {
      packages: ALWAYS,
      cc: 'gcc',
      environment: (root) => ({ ...process.env, PATH: [path, join(root, 'usr/bin')].join(delimiter), LC_ALL: 'C' }),
    };
  }
  return {
    packages: [...ALWAYS, ...GCC_PACKAGES],
    cc: 'gcc-12',
    environment: (root) => ({
      ...process.env,
      PATH: [join(root, 'usr/bin'), path].join(delimiter),
      LD_LIBRARY_PATH: ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu']
        .map((name) => join(root, name))
        .join(delimiter),
      LC_ALL: 'C',
    }),
  };
}
