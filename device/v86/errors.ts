/** The machine is not in a state in which this can be done, or its v86 can't be used. The message says what to do instead. */
export class MachineError extends Error {
  override readonly name: string = 'MachineError';
}
