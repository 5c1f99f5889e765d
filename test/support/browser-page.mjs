// Runs in a page: goes on with the snapshot that a Node process took, and freezes it again.
import { V86 } from '/node_modules/v86/build/libv86.mjs';
import { attachVirtioFs, HttpStore, loadCodec, MachineSnapshots, MemoryStore, SnapshotStore } from '/dist/web/v86-virtiofs.mjs';
import { GuestAgent, uartChannel } from '/dist/harness/guest-agent.js';

/** `holder`: the guest process to go on with. */
export async function goOn(holder) {
  const store = await SnapshotStore.open(new HttpStore(new URL('/snapshots/', location.href), ['node.layer']), loadCodec());
  const [snapshot] = store.list();
  const emulator = new V86({
    wasm_path: '/node_modules/v86/build/v86.wasm', memory_size: 256 << 20, uart1: true, net_device: { type: 'ne2k' },
    autostart: false, disable_keyboard: true, disable_mouse: true, disable_speaker: true,
  });
  const device = attachVirtioFs(emulator, { tag: 'share' });
  const loaded = new Promise((resolve) => emulator.add_listener('emulator-loaded', resolve));
  const snapshots = await MachineSnapshots.of(emulator, store);
  await loaded;
  await snapshots.restore(snapshot.id);
  const agent = new GuestAgent(uartChannel(emulator));
  await emulator.run();
  await agent.ready();
  const process = agent.attach(holder);
  let told = '';
  process.onStdout = (data) => {
    told += new TextDecoder().decode(data);
  };
  await process.write('go on\n');
  await process.exited;
  await agent.exec('echo written in the page > /mnt/share/from-page; exec 9</mnt/share/from-page; rm /mnt/share/from-page; (sleep 1000 <&9 >/dev/null 2>&1 &)');

  // A web server's store can't be written to: the page's own has to have it all.
  const own = await SnapshotStore.open(new MemoryStore(), loadCodec());
  const { id } = await (await MachineSnapshots.of(emulator, own)).freeze({ name: 'page', machine: snapshot.machine });
  const layer = new Uint8Array(await new Blob(await own.export(id)).arrayBuffer());
  return { told, files: device.volume.readdirSync('/'), layer: toBase64(layer) };
}

function toBase64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 30_000) text += btoa(String.fromCharCode(...bytes.subarray(at, at + 30_000)));
  return text;
}
