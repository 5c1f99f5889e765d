import type { FuseSession } from '../fuse/session.ts';
import type { PciTransport } from '../virtio/pci-transport.ts';
import { queueName } from '../virtio-fs.ts';
import { type MessageField, opcodeName, opcodeOf, replyFields, requestFields } from './message.ts';
import type { RequestRecord } from './recorder.ts';
import { buffersOf, type DescriptorView, gather, nextChain } from './rings.ts';

/** Bytes of a message that are shown. */
const MAX_BYTES = 512;
/** Descriptors of one kind in a row that have a step each; those after them have one together. */
const MAX_ALIKE = 3;

/** The parts of a request's way, in their order. */
export const STAGES = [
  'message',
  'available',
  'kick',
  'descriptors',
  'request',
  'answer',
  'used',
  'interrupt',
] as const;

/** One step of a request's way through the device: what happens, and where the specification says so. */
export interface WalkStep {
  stage: (typeof STAGES)[number];
  title: string;
  text: string;
  /** Of the virtio specification 1.3, or of Linux's fuse.h. */
  section: string;
  descriptor?: DescriptorView;
  /** The descriptor is an entry of an indirect table, not of the queue. */
  isInner?: boolean;
  bytes?: Uint8Array;
  /** What the bytes mean; offsets are into them. */
  fields?: MessageField[];
}

/** A request that waits in a queue, and the steps until the device serves it. */
export interface WalkStart {
  queue: number;
  opcode: string;
  steps: WalkStep[];
}

/** The request that the device would serve next; undefined when there is none. Changes nothing, and never throws. */
export function walkIn({
  transport,
  session,
}: {
  transport: PciTransport;
  session: Pick<FuseSession, 'negotiated'>;
}): WalkStart | undefined {
  if (!transport.isLive) return undefined;
  const { isPacked } = transport.ringFeatures;
  for (const queue of [...transport.queues].reverse()) {
    const name = queueName(queue.index, transport.features.accepted);
    if (name === 'notification') continue;
    const chain = nextChain(queue, isPacked);
    if (!chain) continue;
    const { head, descriptors } = chain;
    const buffers = buffersOf(descriptors);
    const request = gather(
      queue.memory,
      buffers.filter(({ isWritable }) => !isWritable),
      MAX_BYTES,
    );
    const fields = requestFields(request, session.negotiated?.flags);
    const opcode = opcodeName(opcodeOf(request) ?? 0);
    const writable = buffers.filter(({ isWritable }) => isWritable).length;
    const steps: WalkStep[] = [
      {
        stage: 'message',
        section: '2.7.4 Message Framing',
        title: `The driver has written a ${opcode} request`,
        text: `It is in guest RAM, in ${count(buffers.length - writable, 'buffer')}, ${writable ? `with room for the reply in ${count(writable, 'other')}` : 'without room for a reply'}. A chain of descriptors says where they are: first what the device reads, then where it writes.`,
      },
      isPacked
        ? {
            stage: 'available',
            section: '2.8.1 Driver and Device Ring Wrap Counters',
            descriptor: descriptors[0],
            title: `Descriptor ${head} is made available`,
            text: `The driver wrote its flags last: AVAIL equals its wrap counter, and USED does not. So the device, which has reached this place in the ring, may take it.`,
          }
        : {
            stage: 'available',
            section: '2.7.6 The Virtqueue Available Ring',
            title: `The chain is made available at ring[${queue.state().ring!.next_avail % queue.size}]`,
            text: `The driver put ${head}, the number of the chain’s first descriptor, into the available ring, and then incremented idx: from that moment on, the device may take it.`,
          },
      {
        stage: 'kick',
        section: '4.1.5.2 Available Buffer Notifications',
        title: 'The driver kicks the device',
        text: `It writes ${queue.index}, the number of the ${queue.index === 0 ? name : 'request'} queue, to the notification register. Usually, the device does all that follows within this one instruction of the guest. Now it waits for you.`,
      },
      ...descriptorSteps(descriptors, isPacked, request, fields),
      {
        stage: 'request',
        section: `fuse.h: struct fuse_in_header, FUSE_${opcode}`,
        title: `The message: ${opcode}`,
        text: `Every message begins with fuse_in_header: its length, the opcode, a number that the reply repeats, the node it is about, and who asks. What follows depends on the opcode.`,
        bytes: request,
        fields,
      },
    ];
    return { queue: queue.index, opcode, steps };
  }
  return undefined;
}

/** The steps from serving on. `record`: what was written down of it; undefined when the device would not take it. */
export function walkOut({ transport }: { transport: PciTransport }, record: RequestRecord | undefined): WalkStep[] {
  if (!record || !transport.isLive) {
    return [
      {
        stage: 'answer',
        section: '2.1.2 Device Requirements: Device Status Field',
        title: 'The device needs a reset',
        text: 'The driver has broken the rules of the ring, so the device has set DEVICE_NEEDS_RESET and serves nothing until it is reset.',
      },
    ];
  }
  const { opcode, error, written, id, queue, interrupt } = record;
  if (written === undefined) {
    return [
      {
        stage: 'answer',
        section: '5.11.6 Device Operation',
        title: `${opcode} has to wait`,
        text: 'What it asks for is taken. Its chain stays with the device, in flight, and other requests overtake it, until there is a reply or the guest interrupts the wait.',
      },
    ];
  }
  const { isPacked } = transport.ringFeatures;
  const { size } = transport.queues[queue]!;
  const { next_used = 0 } = transport.queues[queue]!.state().ring ?? {};
  const reply = record.reply.slice(0, MAX_BYTES);
  return [
    written === 0
      ? {
          stage: 'answer',
          section: '5.11.6 Device Operation',
          title: `${opcode} is done`,
          text: 'The driver left no room for a reply, so the device writes none.',
        }
      : {
          stage: 'answer',
          section: 'fuse.h: struct fuse_out_header',
          title: error ? `The filesystem answers ${error}` : 'The filesystem answers',
          text: `The device writes ${written} bytes into the writable buffers. They begin with fuse_out_header, whose unique tells the driver which request this is the reply to${error ? '; the error in it is the errno, negative' : ''}.`,
          bytes: reply,
          fields: replyFields(reply, record.request),
        },
    isPacked
      ? {
          stage: 'used',
          section: '2.8.1 Driver and Device Ring Wrap Counters',
          title: 'A used descriptor is written',
          text: `It has the buffer id ${id} and the length ${written}, and overwrites a descriptor of the ring; both AVAIL and USED equal the device’s wrap counter. The device’s next place is ${next_used}.`,
        }
      : {
          stage: 'used',
          section: '2.7.8 The Virtqueue Used Ring',
          title: `The chain is used at ring[${(next_used - 1) & (size - 1)}]`,
          text: `The device put id ${id} and len ${written} into the used ring, and then incremented idx to ${next_used}: the driver has its buffers back.`,
        },
    {
      stage: 'interrupt',
      ...(interrupt === 'suppressed'
        ? {
            section: isPacked
              ? '2.8.10 Driver and Device Event Suppression'
              : '2.7.7 Used Buffer Notification Suppression',
            title: 'No interrupt',
            text: 'The driver has said that it does not want one for this reply: it looks at the ring by itself.',
          }
        : interrupt === 'raised'
          ? {
              section: '4.1.5.3 Used Buffer Notifications',
              title: 'The device interrupts',
              text: 'It sets bit 0 of the ISR status and raises INTA#. The driver reads that register, which takes the interrupt back, and finds the reply in the ring.',
            }
          : {
              section: '4.1.5.3 Used Buffer Notifications',
              title: 'The interrupt comes later',
              text: 'Nothing in the guest waits for this reply, so the driver is told with the next one, or a millisecond from now.',
            }),
    },
  ];
}

/** A step for each descriptor, or for many that are alike; `fields` are those of the whole message. */
function descriptorSteps(
  descriptors: readonly DescriptorView[],
  isPacked: boolean,
  request: Uint8Array,
  fields: readonly MessageField[],
): WalkStep[] {
  const section = isPacked ? '2.8.6 Next Flag: Descriptor Chaining' : '2.7.5 The Virtqueue Descriptor Table';
  const place = ({ addr }: DescriptorView) => `0x${addr.toString(16)}`;
  const isWritable = ({ flags }: DescriptorView) => flags.includes('WRITE');
  let read = 0;

  const step = (descriptor: DescriptorView, isInner: boolean, isLast: boolean): WalkStep => {
    const { index, len } = descriptor;
    const name = `${isInner ? 'Entry' : 'Descriptor'} ${index}`;
    const next = isLast ? 'The chain ends here.' : 'The chain continues.';
    if (isWritable(descriptor)) {
      return {
        stage: 'descriptors',
        section,
        descriptor,
        isInner,
        title: `${name}: room for ${len} bytes`,
        text: `Its flag WRITE is set: the device writes a part of the reply to ${place(descriptor)}. ${next}`,
      };
    }
    const [start, end] = [read, Math.min(read + len, request.length)];
    read += len;
    return {
      stage: 'descriptors',
      section,
      descriptor,
      isInner,
      title: `${name}: ${len} bytes to read`,
      text: `Its flag WRITE is not set: the device reads from ${place(descriptor)}. ${next}`,
      ...(start < end && { bytes: request.slice(start, end), fields: fieldsWithin(fields, start, end) }),
    };
  };
  const together = (alike: readonly DescriptorView[], isInner: boolean): WalkStep => {
    const bytes = alike.reduce((sum, { len }) => sum + len, 0);
    const title = `${isInner ? 'Entries' : 'Descriptors'} ${alike[0]!.index} to ${alike.at(-1)!.index}: ${isWritable(alike[0]!) ? 'room for ' : ''}${bytes} bytes${isWritable(alike[0]!) ? '' : ' to read'}`;
    return {
      stage: 'descriptors',
      section,
      title,
      text: `${alike.length} more of the same kind: the guest’s pages need not be next to each other.`,
    };
  };
  const stepsOf = (chain: readonly DescriptorView[], isInner: boolean): WalkStep[] => {
    const steps: WalkStep[] = [];
    for (let at = 0; at < chain.length; ) {
      const descriptor = chain[at]!;
      if (descriptor.table) {
        steps.push(
          {
            stage: 'descriptors',
            section: isPacked ? '2.8.7 Indirect Flag: Scatter-Gather Support' : '2.7.5.3 Indirect Descriptors',
            descriptor: { ...descriptor, table: descriptor.table.slice(0, 8) },
            title: `Descriptor ${descriptor.index} refers to a table`,
            text: `INDIRECT: at ${place(descriptor)} there are ${Math.floor(descriptor.len / 16)} more descriptors. So the whole chain takes one place in the queue, and the queue holds more requests.`,
          },
          ...stepsOf(descriptor.table, true),
        );
        at++;
        continue;
      }
      const other = chain.findIndex(
        (later, n) => n > at && (isWritable(later) !== isWritable(descriptor) || later.table),
      );
      const alike = chain.slice(at, other < 0 ? undefined : other);
      const single = alike.length > MAX_ALIKE + 1 ? MAX_ALIKE : alike.length;
      for (const [n, one] of alike.slice(0, single).entries())
        steps.push(step(one, isInner, at + n === chain.length - 1));
      if (single < alike.length) steps.push(together(alike.slice(single), isInner));
      at += alike.length;
    }
    return steps;
  };
  return stepsOf(descriptors, false);
}

/** The fields that are, in part at least, in these bytes of their message; offsets from `start`. */
function fieldsWithin(fields: readonly MessageField[], start: number, end: number): MessageField[] {
  return fields
    .filter(({ offset, length }) => offset < end && offset + length > start)
    .map((field) => ({
      ...field,
      offset: Math.max(field.offset - start, 0),
      length: Math.min(field.offset + field.length, end) - Math.max(field.offset, start),
    }));
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
