// Runs in a page: goes on with the snapshot that a Node process took, or freezes it again.

import { GuestAgent, uartChannel } from '/dist/harness/machine/agent/guest-agent.js';
import {
  attachVirtioFs,
  HttpStore,
  loadCodec,
  MachineSnapshots,
  MemoryStore,
  SnapshotStore,
} from '/dist/web/v86-virtiofs.mjs';
import { V86 } from '/node_modules/v86/build/libv86.mjs';
import { goOn } from '/test/support/scene.mjs';

async function restore(share) {
  const store = await SnapshotStore.open(
    new HttpStore(new URL('/snapshots/', location.href), ['node.layer']),
    loadCodec(),
  );
  const [snapshot] = store.list();
  const emulator = new V86({
    wasm_path: '/node_modules/v86/build/v86.wasm',
    memory_size: 256 << 20,
    vga_memory_size: 256 << 10,
    uart1: true,
    net_device: { type: 'ne2k' },
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  });
  const device = attachVirtioFs(emulator, { tag: 'share', ...share });
  const loaded = new Promise((resolve) => emulator.add_listener('emulator-loaded', resolve));
  const snapshots = await MachineSnapshots.of(emulator, store);
  await loaded;
  await snapshots.restore(snapshot.id);
  const agent = new GuestAgent(uartChannel(emulator));
  await emulator.run();
  await agent.ready();
  return { emulator, device, agent, snapshot };
}

export async function goOnHere(share, scene, expected) {
  const { emulator, device, agent } = await restore(share);
  try {
    return await goOn(agent, scene, device, expected);
  } finally {
    await emulator.destroy();
  }
}

/** Restores, lets the guest run a little, and freezes it again. Returns the layer, in base64. */
export async function freezeAgain(share) {
  const { emulator, agent, snapshot } = await restore(share);
  await agent.exec(['true']);
  // A web server's store can't be written to: the page's own has to have it all.
  const own = await SnapshotStore.open(new MemoryStore(), loadCodec());
  const { id } = await (await MachineSnapshots.of(emulator, own)).freeze({ name: 'page', machine: snapshot.machine });
  const layer = new Uint8Array(await new Blob(await own.export(id)).arrayBuffer());
  await emulator.destroy();
  return toBase64(layer);
}

function toBase64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 30_000)
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + 30_000)));
  return text;
}
