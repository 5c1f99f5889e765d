/** What the inspector names and no lesson explains. */
export const OWN_TERMS = `
## BAR

A base address register: where in the guest’s address space, memory or ports, a part of a PCI device is. A [PCI capability](term:pci-capability) names the BAR and the offset of its structure. In [virtio 1.3, section 4.1.4](virtio:4.1.4).

## handle

The number (\`fh\`) that stands for an open file or directory until it is released. The device chooses it in its reply to OPEN, OPENDIR or CREATE. In Linux, [fuse_open_out](linux:fuse_open_out).

## lock

A range of bytes of a file that a process keeps others from locking, or with \`flock\` the whole file. A request that has to wait for one stays in flight. In Linux, [fuse_file_lock](linux:fuse_file_lock).

## notification queue

A [virtqueue](term:virtqueue) in which the device sends messages that the guest has not asked for, such as that a lock is free. It exists only if the driver accepts VIRTIO_FS_F_NOTIFICATION. In [virtio 1.3, section 5.11.6.3](virtio:5.11.6.3).

## register

A field of a device’s structures that the driver reads and writes, such as \`device_status\` or \`queue_size\`. In [virtio 1.3, section 4.1.4.3](virtio:4.1.4.3).

## reply

The device’s message about a [request](term:request): its length, an error or 0, the request’s number, and what was asked for. In Linux, [fuse_out_header](linux:fuse_out_header).

## request

A [FUSE](term:fuse) message from the guest: what is to be done (the opcode), with which [node](term:node-id), and for which process. In Linux, [fuse_in_header](linux:fuse_in_header).

## reset

The driver writes 0 to [device status](term:device-status): the device forgets its queues and what was negotiated. In [virtio 1.3, section 2.4](virtio:2.4).

## snapshot

A guest at one moment, with its memory, files and [sessions](term:session), so that it can continue from there later or elsewhere.
`;
