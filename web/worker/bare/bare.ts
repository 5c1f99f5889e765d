import { proxyMarker } from 'comlink';
import { viewDevice } from '../../../device/index.ts';
import type { BareApi, BareResult } from '../../protocol/bare.ts';
import { Inspector } from '../inspector.ts';
import { BareMachine } from './machine.ts';
import { runProgram } from './program.ts';

/** Milliseconds that a program may take. */
const PATIENCE = 10_000;
/** Requests of a program that are told. */
const MAX_REQUESTS = 200;

/** A machine for one program, which can be looked into afterwards. */
export class Bare implements BareApi {
  readonly [proxyMarker] = true;
  readonly #secret = `Hello, driver ${Math.floor(Math.random() * 1e9)}!`;
  readonly #machine = new BareMachine(this.#secret);
  readonly inspector = new Inspector(this.#machine, () => []);

  readonly #patience: number;

  constructor(patience = PATIENCE) {
    this.#patience = patience;
  }

  async run(program: string): Promise<BareResult> {
    this.inspector.record(true, 'lesson');
    const machine = this.#machine;
    const { output, error } = await runProgram(machine, program, this.#patience);
    return {
      output,
      error,
      configReads: [...machine.configReads],
      device: viewDevice(machine),
      session: this.inspector.session(),
      requests: this.inspector.requestsAfter(0).rows.slice(0, MAX_REQUESTS),
      isPacked: machine.transport.ringFeatures.isPacked,
      complaint: machine.complaint,
      interrupts: machine.interrupts,
      secret: this.#secret,
    };
  }
}
