import { css, html, type TemplateResult } from 'lit';

/** A snapshot, or the present of a guest. */
export interface GraphNode {
  id: string;
  /** The id of the node that it came from; '' for none. */
  parent: string;
  /** Milliseconds since 1970. */
  created: number;
}

/** A node, and how the lines run in its row. Lanes count from 0, at the left. */
export interface GraphRow<N extends GraphNode> {
  node: N;
  lane: number;
  /** A line comes from the row above, from a node that came from this one. */
  hasChild: boolean;
  hasParent: boolean;
  /** Lanes of other nodes that came from this one: their lines end here. */
  joins: number[];
  /** Lanes whose lines pass by. */
  passing: number[];
}

/**
 * The newest node first, and each before the one that it came from. The line that leads to the node `main` has lane 0 to itself.
 * Parents that are not among `nodes` count as none.
 */
export function layOut<N extends GraphNode>(nodes: readonly N[], main: string): GraphRow<N>[] {
  const all = new Map(nodes.map((node) => [node.id, node]));
  const parentOf = ({ parent }: N) => (all.has(parent) ? parent : '');
  const mainLine = new Set<string>();
  for (let at = all.get(main); at && !mainLine.has(at.id); at = all.get(parentOf(at))) mainLine.add(at.id);
  /** By lane: the node that its line leads to. */
  const lanes: (string | undefined)[] = [];
  return inOrder(nodes, parentOf).map((node) => {
    const arriving = lanes.flatMap((id, lane) => (id === node.id ? [lane] : []));
    for (const lane of arriving) lanes[lane] = undefined;
    const lane = mainLine.has(node.id) ? 0 : (arriving[0] ?? freeLane(lanes));
    const passing = lanes.flatMap((id, other) => (id === undefined ? [] : [other]));
    const parent = parentOf(node);
    lanes[lane] = parent || undefined;
    return {
      node,
      lane,
      hasChild: arriving.includes(lane),
      hasParent: parent !== '',
      joins: arriving.filter((other) => other !== lane),
      passing,
    };
  });
}

function freeLane(lanes: readonly (string | undefined)[]): number {
  let lane = 1;
  while (lanes[lane] !== undefined) lane++;
  return lane;
}

/** Clocks may have been set back: a node is no later than those that came from it. */
function inOrder<N extends GraphNode>(nodes: readonly N[], parentOf: (node: N) => string): N[] {
  const waiting = new Set(nodes);
  const children = new Map<string, number>();
  for (const node of nodes) children.set(parentOf(node), (children.get(parentOf(node)) ?? 0) + 1);
  const order: N[] = [];
  while (waiting.size) {
    const ready = [...waiting].filter(({ id }) => !children.get(id));
    // Nodes that came from each other have no order.
    const next = (ready.length ? ready : [...waiting]).reduce((a, b) => (b.created > a.created ? b : a));
    waiting.delete(next);
    order.push(next);
    children.set(parentOf(next), children.get(parentOf(next))! - 1);
  }
  return order;
}

/** CSS pixels: from lane to lane, and from the top of a row to its dot. */
const STEP = 14;
const DOT = 18;
/** Lanes that are drawn; further ones share the last. */
const MAX_LANES = 8;

const place = (lane: number) => 7 + STEP * Math.min(lane, MAX_LANES - 1);

/** Pixels that the graph of these rows needs. */
export function graphWidth(rows: readonly GraphRow<GraphNode>[]): number {
  return place(Math.max(0, ...rows.flatMap(({ lane, passing, joins }) => [lane, ...passing, ...joins]))) + 9;
}

/** The lines of one row, which fill its height. Decoration: who can't see it is told in words. */
export function drawGraph({ lane, hasChild, hasParent, joins, passing }: GraphRow<GraphNode>): TemplateResult {
  const line = (at: number, top: string, bottom: string) =>
    html`<i data-main=${at === 0} style=${`left: ${place(at)}px; top: ${top}; bottom: ${bottom}`}></i>`;
  return html`<span class="graph" aria-hidden="true">
    ${passing.map((other) => line(other, '0', '0'))}
    ${joins.map((other) => html`<i class="join" style=${`left: ${place(lane)}px; width: ${place(other) - place(lane) + 2}px`}></i>`)}
    ${hasChild ? line(lane, '0', `calc(100% - ${DOT}px)`) : ''}${hasParent ? line(lane, `${DOT}px`, '0') : ''}
    <b style=${`left: ${place(lane) - 5}px`}></b>
  </span>`;
}

export const graphStyles = css`
  .graph { position: relative; align-self: stretch; }
  .graph i { position: absolute; width: 2px; background: var(--line); }
  .graph i[data-main=true] { background: var(--accent); }
  .graph .join { top: 0; height: ${DOT + 1}px; background: none; border: solid var(--line); border-width: 0 2px 2px 0; border-bottom-right-radius: 9px; }
  .graph b { position: absolute; top: ${DOT - 6}px; width: 12px; height: 12px; border: 2px solid var(--line); border-radius: 50%; background: var(--surface); }
`;
