/** A snapshot that can't be restored. The message says what is wrong, and what to do where there is a cure. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
}
