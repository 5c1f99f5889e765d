/** In place of Node's `stream`: memfs needs these to be there, and the page has no use for its file streams. */
export function Readable() {
  throw new Error('this page has no streams of memfs: read with readFile');
}

export function Writable() {
  throw new Error('this page has no streams of memfs: write with writeFile');
}
