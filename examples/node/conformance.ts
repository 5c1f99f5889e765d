// The conformance suite on a filesystem of your own, in Node's test runner: node --import tsx --test examples/node/conformance.ts
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { conformance } from 'v86-virtiofs/conformance';
import { WebDirectory } from '../filesystems/web-directory.js';

const server = createServer((_request, response) => response.end('from the web\n'));
await new Promise<void>((resolve) => server.listen(0, resolve));
after(() => server.close());
const url = `http://localhost:${(server.address() as AddressInfo).port}`;
const makeFilesystem = () => new WebDirectory(url, { 'hello.txt': 13, docs: { 'read me.txt': 13, empty: {} } });

const { scenarios, leftOut } = conformance({ readOnly: true, fileHandles: true });
for (const { subject, name, run } of scenarios) test(`${subject}: ${name}`, () => run(makeFilesystem));
console.log(
  `${leftOut.length} scenarios are left out, for want of ${new Set(leftOut.flatMap(({ needs }) => needs)).size} features`,
);
