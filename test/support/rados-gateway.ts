import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { debianRoot } from './debian-root.ts';

const run = promisify(execFile);
const LIBRARIES = ['usr/lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu/ceph', 'lib/x86_64-linux-gnu'];
const PACKAGES = ['radosgw', 'ceph-mon', 'ceph-osd'];
/** Milliseconds that the server has to start. */
const PATIENCE = 60_000;
/** Bytes of memory that objects may have. */
const ROOM = 4 * 2 ** 30;

export const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'fleet', AWS_SECRET_ACCESS_KEY: 'of-the-tests' };

/** A server of objects: Ceph's, of Debian, with one monitor and one store in memory. Its programs end with this process, at the latest. */
export class RadosGateway {
  /** Its URL. */
  readonly endpoint: string;
  readonly #directory: string;
  readonly #programs: ChildProcess[];
  #buckets = 0;

  private constructor(endpoint: string, directory: string, programs: ChildProcess[]) {
    this.endpoint = endpoint;
    this.#directory = directory;
    this.#programs = programs;
  }

  /** @throws Error that says what is missing, where it can't be had. */
  static async start(): Promise<RadosGateway> {
    const root = await debianRoot('ceph', { codename: 'bookworm', packages: PACKAGES });
    const directory = await mkdtemp(join(tmpdir(), 'ceph-'));
    const at = (name: string) => join(directory, name);
    const [monitor, port] = [await freePort(), await freePort()];
    const programs: ChildProcess[] = [];
    const env = { PATH: process.env['PATH'], LD_LIBRARY_PATH: LIBRARIES.map((path) => join(root, path)).join(':') };
    const program = (name: string) => join(root, 'usr/bin', name);
    const settings = ['-c', at('ceph.conf')];
    const begin = (name: string, ...words: string[]) => {
      const log = openSync(at(`${name}.out`), 'a');
      // It is killed with this process, also when that is killed.
      const bound = ['--pdeathsig', 'KILL', 'env', `LD_LIBRARY_PATH=${env.LD_LIBRARY_PATH}`, program(name)];
      const child = spawn('setpriv', [...bound, ...settings, ...words, '-f'], { stdio: ['ignore', log, log] });
      closeSync(log);
      programs.push(child);
      return child;
    };
    const gateway = new RadosGateway(`http://127.0.0.1:${port}`, directory, programs);
    try {
      const cluster = randomUUID();
      for (const name of ['mon', 'osd', 'rgw']) await mkdir(at(name));
      const { stdout: key } = await run(program('ceph-authtool'), ['--gen-print-key'], { env });
      await writeFile(
        at('keyring'),
        ['mon.', 'client.admin', 'osd.0', 'client.rgw']
          .map(
            (name) =>
              `[${name}]\nkey = ${key.trim()}\n${['mon', 'osd', 'mgr'].map((to) => `caps ${to} = "allow *"\n`).join('')}`,
          )
          .join(''),
      );
      await writeFile(at('ceph.conf'), configuration(root, directory, cluster, monitor, port));
      const monitors = ['--create', '--addv', 'a', `[v2:127.0.0.1:${monitor}]`, '--fsid', cluster, at('monmap')];
      await run(program('monmaptool'), monitors, { env });
      const files = ['--monmap', at('monmap'), '--keyring', at('keyring')];
      await run(program('ceph-mon'), [...settings, '--mkfs', '-i', 'a', ...files], { env });
      begin('ceph-mon', '-i', 'a');
      await run(program('ceph-osd'), [...settings, '--mkfs', '-i', '0', '--osd-uuid', randomUUID()], { env });
      begin('ceph-osd', '-i', '0');
      const keys = [`--access-key=${CREDENTIALS.AWS_ACCESS_KEY_ID}`, `--secret=${CREDENTIALS.AWS_SECRET_ACCESS_KEY}`];
      const user = ['-n', 'client.rgw', 'user', 'create', '--uid=fleet', '--display-name=fleet', ...keys];
      await run(program('radosgw-admin'), [...settings, ...user], { env, timeout: PATIENCE });
      await gateway.#answers(begin('radosgw', '-n', 'client.rgw'));
      return gateway;
    } catch (error) {
      const said = await readFile(at('radosgw.out'), 'utf8').catch(() => '');
      await gateway.stop();
      throw new Error(`Ceph does not start: ${(error as Error).message}\n${said.slice(-2000)}`, { cause: error });
    }
  }

  async #answers(program: ChildProcess): Promise<void> {
    for (const end = performance.now() + PATIENCE; performance.now() < end; await pause(20)) {
      if (program.exitCode !== null) throw new Error(`radosgw has ended with ${program.exitCode}`);
      if (await fetch(this.endpoint).catch(() => undefined)) return;
    }
    throw new Error(`it does not answer within ${PATIENCE / 1000} s`);
  }

  /** A client of AWS for it. */
  client(): S3Client {
    return new S3Client({
      endpoint: this.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      credentials: {
        accessKeyId: CREDENTIALS.AWS_ACCESS_KEY_ID,
        secretAccessKey: CREDENTIALS.AWS_SECRET_ACCESS_KEY,
      },
    });
  }

  /** Makes a bucket. Returns its name. */
  async bucket(): Promise<string> {
    const name = `bucket-${++this.#buckets}`;
    const client = this.client();
    await client.send(new CreateBucketCommand({ Bucket: name }));
    client.destroy();
    return name;
  }

  /** As `--store` takes it; `endpoint`: of a proxy in between. */
  location(bucket: string, prefix = 'store', endpoint = this.endpoint): string {
    return `s3://${bucket}/${prefix}?endpoint=${encodeURIComponent(endpoint)}`;
  }

  #kill(): void {
    for (const program of this.#programs) program.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    this.#kill();
    await Promise.all(
      this.#programs.map((program) => program.exitCode ?? program.signalCode ?? once(program, 'exit').catch(() => {})),
    );
    await rm(this.#directory, { recursive: true, force: true });
  }
}

function configuration(root: string, directory: string, cluster: string, monitor: number, port: number): string {
  const libraries = join(root, LIBRARIES[0]!);
  return `[global]
fsid = ${cluster}
mon host = v2:127.0.0.1:${monitor}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
keyring = ${directory}/keyring
run dir = ${directory}
log file = ${directory}/$name.log
admin socket = ${directory}/$name.socket
pid file = ${directory}/$name.pid
erasure code dir = ${libraries}/ceph/erasure-code
plugin dir = ${libraries}/ceph
osd class dir = ${libraries}/rados-classes
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = ${ROOM}
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data = ${directory}/mon
osd data = ${directory}/osd
rgw data = ${directory}/rgw
paxos propose interval = 0.01
paxos min wait = 0.005
rgw thread pool size = 32
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${port}
`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
