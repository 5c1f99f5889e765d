import type { ProxyMarked } from 'comlink';
import type { DeviceView, InspectorApi, RequestRow, SessionView } from './inspector.ts';

/** What became of a driver's program, and of its device. */
export interface BareResult {
  /** Lines that it wrote with `log`. */
  output: string[];
  /** What it threw, with its line; '' when it ran to its end. */
  error: string;
  /** Offsets in configuration space that it has read, each once. */
  configReads: number[];
  device: DeviceView;
  session: SessionView;
  requests: RequestRow[];
  /** Whether the virtqueues are packed. */
  isPacked: boolean;
  /** How the driver broke the rules, so that the device needs a reset; '' if it did not. */
  complaint: string;
  /** INTA# was raised so often. */
  interrupts: number;
  /** What is in hello.txt: another text each time. */
  secret: string;
}

/** A virtio-fs device without a machine, for programs that drive it. */
export interface BareApi extends ProxyMarked {
  /** Once only. */
  run(program: string): Promise<BareResult>;
  readonly inspector: InspectorApi;
}
