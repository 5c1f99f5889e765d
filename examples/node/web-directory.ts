// A guest that mounts a filesystem of your own: a directory of a web server.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Vm } from 'v86-virtiofs/harness';
import { WebDirectory } from '../filesystems/web-directory.js';

const files: Record<string, string> = {
  '/index.json': '{ "hello.txt": 13, "docs": { "read me.txt": 18 } }',
  '/hello.txt': 'from the web\n',
  '/docs/read%20me.txt': 'fetched when read\n',
};
const server = createServer(({ url }, response) => response.writeHead(files[url!] ? 200 : 404).end(files[url!]));
await new Promise<void>((resolve) => server.listen(0, resolve));

const { port } = server.address() as AddressInfo;
const filesystem = await WebDirectory.open(`http://localhost:${port}`);
const vm = await Vm.boot({ shares: [{ tag: 'web', filesystem }] });
const directory = await vm.mount('web');
const { stdout, stderr } = await vm.exec('find . | sort; cat hello.txt; echo more > hello.txt', { cwd: directory });
console.log(stdout + stderr);
await vm.stop();
server.close();
