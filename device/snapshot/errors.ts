/** A snapshot that can't be restored. The message says what is wrong, and what to do where there is a cure. */
export class SnapshotError extends Error {
  override readonly name: string = 'SnapshotError';
}

/** A snapshot needs chunks that the store does not have any more. */
export class MissingChunkError extends SnapshotError {}
