/** In place of memfs: the page shares filesystems in memory, and looks at their files itself, without a volume of memfs. */
export class Volume {
  constructor() {
    throw new Error('this page has no memfs: use the folder of the guest');
  }
}

export function createFsFromVolume() {
  return new Volume();
}
