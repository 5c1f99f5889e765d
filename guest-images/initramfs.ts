import { CpioArchive } from './cpio.ts';
import { BOOT_MODULES, type KernelModule, SERVICE_MODULES } from './modules.ts';

export interface InitramfsParts {
  /** `uname -r`. */
  release: string;
  /** Static busybox. */
  busybox: Buffer;
  /** Programs by name; `init` becomes /init. */
  programs: Map<string, Buffer>;
  modules: KernelModule[];
}

const PROFILE = `export PS1='\\u@\\h:\\w\\$ '
alias ll='ls -l'
`;

/** The guest's root filesystem, as a cpio archive. Not compressed: unpacking costs more in an emulator than reading. */
export function makeInitramfs({ release, busybox, programs, modules }: InitramfsParts): Buffer {
  const archive = new CpioArchive();
  for (const name of ['bin', 'dev', 'etc', 'lib', 'lib/modules', 'mnt', 'proc', 'run', 'sys', 'usr', 'var'])
    archive.directory(name);
  archive.directory('root', 0o700);
  archive.directory('tmp', 0o1777);
  archive.symlink('sbin', 'bin');
  archive.symlink('usr/bin', '../bin');
  archive.symlink('usr/sbin', '../bin');
  archive.symlink('var/run', '../run');
  archive.symlink('var/tmp', '../tmp');
  archive.characterDevice('dev/console', 5, 1, 0o600);
  archive.characterDevice('dev/null', 1, 3, 0o666);

  archive.file(
    'etc/passwd',
    'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nuser:x:1000:1000:user:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  );
  archive.file('etc/group', 'root:x:0:\ndaemon:x:1:\nuser:x:1000:\nnogroup:x:65534:\n');
  archive.file('etc/hosts', '127.0.0.1 localhost guest\n');
  archive.file('etc/profile', PROFILE);
  archive.symlink('etc/mtab', '/proc/mounts');

  archive.file('bin/busybox', busybox, 0o755);
  for (const applet of busyboxApplets(busybox)) {
    if (applet !== 'busybox' && !programs.has(applet)) archive.symlink(`bin/${applet}`, 'busybox');
  }
  for (const [name, program] of programs) archive.file(name === 'init' ? 'init' : `bin/${name}`, program, 0o755);

  // Without any, those of another kernel may be put there.
  if (modules.length) addModules(archive, release, modules);
  return archive.toBuffer();
}

function addModules(archive: CpioArchive, release: string, modules: KernelModule[]): void {
  archive.directory(`lib/modules/${release}`);
  const files = new Map(modules.map((module) => [module.name, `${module.name}.ko`]));
  for (const { name, content } of modules) archive.file(`lib/modules/${release}/${files.get(name)}`, content);
  archive.file(
    `lib/modules/${release}/modules.dep`,
    modules
      .map((module) => {
        const depends = closure(module, modules).map((dependency) => ` ${files.get(dependency)}`);
        return `${files.get(module.name)}:${depends.join('')}\n`;
      })
      .join(''),
  );
  archive.file(
    `lib/modules/${release}/modules.alias`,
    modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join(''),
  );
  for (const [list, names] of [
    ['load', BOOT_MODULES],
    ['services', SERVICE_MODULES],
  ] as const) {
    const paths = modules.filter(({ name }) => names.includes(name)).map(({ name }) => files.get(name));
    archive.file(`lib/modules/${list}`, paths.map((path) => `/lib/modules/${release}/${path}\n`).join(''));
  }
}

/** What has to be loaded before `module`, the last to load first, as in modules.dep. */
function closure(module: KernelModule, modules: KernelModule[]): string[] {
  const found = new Set<string>();
  const visit = (name: string) => {
    for (const dependency of modules.find((candidate) => candidate.name === name)?.depends ?? []) {
      found.delete(dependency);
      found.add(dependency);
      visit(dependency);
    }
  };
  visit(module.name);
  return [...found].filter((name) => modules.some((candidate) => candidate.name === name));
}

/** busybox keeps its applets' names as one block of sorted NUL-terminated strings: "[", "[[", "acpid" and so on. */
function busyboxApplets(busybox: Buffer): string[] {
  const start = busybox.indexOf('[\0[[\0', 0, 'latin1');
  if (start < 0) throw new Error('this busybox has no table of applets');
  const end = busybox.indexOf('\0\0', start, 'latin1');
  return busybox
    .toString('latin1', start, end)
    .split('\0')
    .filter((name) => /^[\w.[+-]+$/.test(name));
}
