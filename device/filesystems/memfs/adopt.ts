import { copyOf, PAGE_SIZE } from '../../bytes.ts';
import { fromMilliseconds } from '../../fs/clock.ts';
import { S_IALLUGO, S_IFDIR, S_IFLNK, S_IFMT } from '../../fs/constants.ts';
import { FIRST_COOKIE } from '../../fs/cookies.ts';
import type { Timespec } from '../../fs/filesystem.ts';
import { CHUNK_SIZE, PAGES_PER_CHUNK } from '../memory/chunk.ts';
import type { Entry } from '../memory/directory.ts';
import type { Inode } from '../memory/inode.ts';
import type { InodeTable } from '../memory/inode-table.ts';
import { rangeOf } from '../memory/range.ts';
import { entryCost, inodeCost, linksCost, rangesCost } from '../memory/space.ts';
import { checkName, checkNode, checkOwner, checkTime, MAX_INO } from '../memory/values.ts';
import type { Core, CoreLink, CoreNode } from './core.ts';
import type { Views } from './views.ts';

/**
 * Takes over what is in a volume: its nodes and links become views of what is in the filesystem then, and
 * keep their inode numbers where those are of use.
 *
 * @throws TypeError, with nothing changed, when there is something that no Linux guest could see; RangeError when it is more than the quota.
 */
export function adopt(table: InodeTable, core: Core, views: Views): void {
  const { links, nodes } = survey(core);
  const usage = { pages: 0, metadata: 0, inodes: nodes.size };
  for (const node of nodes) {
    usage.metadata += inodeCost(node.mode, node.symlink);
    usage.pages += Math.ceil(node.getSize() / PAGE_SIZE);
  }
  const names = new Map<CoreNode, number>();
  for (const children of links.values())
    for (const [name, link] of children) {
      const node = link.getNode();
      const count = (names.get(node) ?? 0) + 1;
      names.set(node, count);
      usage.metadata += entryCost(name) + linksCost(count) - linksCost(count - 1);
    }
  const numbers = number(nodes);
  usage.metadata += rangesCost(new Set(Array.from(numbers.values(), rangeOf)).size);
  table.space.checkFits(usage);
  const inodes = new Map<CoreNode, Inode>();
  for (const [node, ino] of numbers) inodes.set(node, adoptInode(table, node, ino));
  const adopted: [link: CoreLink, entry: Entry][] = [];
  for (const [dirLink, children] of links) {
    const dir = inodes.get(dirLink.getNode())!;
    const entries = children.map(([name, link], at) => {
      const inode = inodes.get(link.getNode())!;
      const entry = inode.addName(dir, name);
      adopted.push([link, entry]);
      if (!inode.isDirectory) table.space.metadata += linksCost(inode.nlink) - linksCost(inode.nlink - 1);
      return { entry, cookie: FIRST_COOKIE + at };
    });
    dir.directory!.nextCookie = FIRST_COOKIE + entries.length;
    dir.directory!.insert(entries);
  }
  for (const { ino } of inodes.values()) table.nextIno = Math.max(table.nextIno, ino + 1);
  views.adoptLink(core.root, table.root);
  for (const [link, entry] of adopted) views.adoptLink(link, entry);
  for (const [node, inode] of inodes) views.adoptNode(node, inode);
}

type Children = [name: string, link: CoreLink][];

/** What is in every directory, and all nodes, those that only have an open file of the host's included. */
function survey(core: Core): { links: Map<CoreLink, Children>; nodes: Set<CoreNode> } {
  const links = new Map<CoreLink, Children>([[core.root, []]]);
  const nodes = new Set([core.root.getNode()]);
  for (const [dirLink, children] of links) {
    for (const [name, link] of dirLink.children) {
      if (name === '.' || name === '..') continue;
      const node = link.getNode();
      if ((node.mode & S_IFMT) === S_IFDIR && nodes.has(node))
        throw new TypeError(`the volume has a directory in two places, ${link.steps.join('/')}: remove one`);
      judge(
        () => checkName(name),
        `a file name that Linux can't have, ${JSON.stringify(name)} in ${dirLink.steps.join('/') || '/'}: rename it`,
      );
      judge(
        () => checkNode(modeOf(node), node.rdev, node.symlink),
        `something that no file can be, ${link.steps.join('/')}, with mode 0${node.mode.toString(8)}: remove it`,
      );
      judge(
        () => checkOwner(node.uid, node.gid),
        `a file, ${link.steps.join('/')}, whose owner is ${node.uid}:${node.gid}: choose others`,
      );
      nodes.add(node);
      children.push([name, link]);
      if (link.children.size) links.set(link, []);
    }
  }
  for (const { node } of Object.values(core.fds)) nodes.add(node);
  return { links, nodes };
}

function judge(check: () => void, what: string): void {
  try {
    check();
  } catch (error) {
    throw new TypeError(`the volume has ${what}`, { cause: error });
  }
}

function modeOf({ mode }: CoreNode): number {
  return (mode & S_IFMT) === S_IFLNK ? S_IFLNK | 0o777 : mode & (S_IFMT | S_IALLUGO);
}

/** The root is 1; the others keep their numbers when those are unique and fit. */
function number(nodes: Set<CoreNode>): Map<CoreNode, number> {
  const numbers = new Map<CoreNode, number>();
  const used = new Set([1]);
  let highest = 1;
  for (const node of nodes) if (node.ino < MAX_INO) highest = Math.max(highest, node.ino);
  for (const node of nodes) {
    let ino = numbers.size === 0 ? 1 : node.ino;
    if (numbers.size && (used.has(ino) || ino < 1 || ino >= MAX_INO)) ino = ++highest;
    used.add(ino);
    numbers.set(node, ino);
  }
  return numbers;
}

function adoptInode(table: InodeTable, node: CoreNode, ino: number): Inode {
  const mode = modeOf(node);
  let inode = table.root;
  if (ino !== 1) {
    inode = table.make(ino, mode, (mode & S_IFMT) === S_IFLNK ? node.symlink : undefined);
    table.space.takeInode(inode.metadata + rangesCost(table.range(rangeOf(ino)).count === 1 ? 1 : 0));
  }
  inode.mode = mode;
  inode.uid = node.uid;
  inode.gid = node.gid;
  inode.rdev = node.rdev;
  inode.atime = timeOf(node.atime);
  inode.mtime = timeOf(node.mtime);
  inode.ctime = timeOf(node.ctime);
  inode.btime = timeOf(node.btime);
  if (inode.isRegular && node.getSize()) {
    const bytes = node.getBuffer();
    inode.content!.load(bytes.length, [...chunksOf(bytes)]);
    table.space.pages += inode.content!.pages;
  }
  return inode;
}

/** memfs keeps invalid dates. */
function timeOf(date: Date): Timespec {
  return checkTime(fromMilliseconds(date.getTime() || 0));
}

function* chunksOf(bytes: Uint8Array): Generator<{ at: number; map: number; bytes: Uint8Array }> {
  for (let index = 0; index * CHUNK_SIZE < bytes.length; index++) {
    const chunk = copyOf(bytes.subarray(index * CHUNK_SIZE, (index + 1) * CHUNK_SIZE));
    yield { at: index * PAGES_PER_CHUNK, map: 2 ** Math.ceil(chunk.length / PAGE_SIZE) - 1, bytes: chunk };
  }
}
