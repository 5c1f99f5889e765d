import { html, type TemplateResult } from 'lit';

const VIRTIO = 'https://docs.oasis-open.org/virtio/virtio/v1.3/csd01/virtio-v1.3-csd01.html';
/** Finds where Linux defines a name. */
const LINUX = 'https://elixir.bootlin.com/linux/latest/C/ident/';

/** Where virtio 1.3's sections begin in its page, by their numbers. */
const ANCHORS = {
  '2.1': 'x1-110001',
  '2.1.2': 'x1-130002',
  '2.2': 'x1-140002',
  '2.3': 'x1-180003',
  '2.4': 'x1-190004',
  '2.6': 'x1-270006',
  '2.6.1': 'x1-280001',
  '2.7': 'x1-350007',
  '2.7.4': 'x1-390004',
  '2.7.5': 'x1-430005',
  '2.7.5.3': 'x1-460003',
  '2.7.6': 'x1-490006',
  '2.7.7': 'x1-510007',
  '2.7.8': 'x1-540008',
  '2.8': 'x1-720008',
  '2.8.1': 'x1-730001',
  '2.8.6': 'x1-780006',
  '2.8.7': 'x1-790007',
  '2.8.10': 'x1-8200010',
  '4.1.4': 'x1-1390004',
  '4.1.4.3': 'x1-1420003',
  '4.1.4.4': 'x1-1450004',
  '4.1.4.5': 'x1-1470005',
  '4.1.4.6': 'x1-1500006',
  '4.1.4.9': 'x1-1570009',
  '4.1.5.2': 'x1-1720002',
  '4.1.5.3': 'x1-1740003',
  '5.11': 'x1-49600011',
  '5.11.2': 'x1-4980002',
  '5.11.3': 'x1-4990003',
  '5.11.4': 'x1-5000004',
  '5.11.6': 'x1-5040006',
  '5.11.6.3': 'x1-5090003',
  '6': 'x1-7080006',
} as const;

type Section = keyof typeof ANCHORS;
/** Where something is specified: a section of virtio 1.3, or a name of Linux's fuse.h. */
export type Where = Section | `fuse_${string}` | `FUSE_${string}`;

export function isSection(number: string): number is Section {
  return Object.hasOwn(ANCHORS, number);
}

/** A link that leaves the page where it is. */
function away(href: string, content: unknown, title: string): TemplateResult {
  return html`<a class="spec" href=${href} target="_blank" rel="noopener noreferrer" title=${title}>${content}</a>`;
}

/** Entries of the glossary that the inspector leads to, and where what they explain is specified. */
export const TERMS = {
  'available-ring': '2.7.6',
  bar: '4.1.4',
  chain: '2.7.4',
  descriptor: '2.7.5',
  'device-status': '2.1',
  feature: '2.2',
  handle: 'fuse_open_out',
  init: 'FUSE_INIT',
  interrupt: '4.1.5.3',
  kick: '4.1.5.2',
  lock: 'fuse_file_lock',
  'lookup-count': 'FUSE_LOOKUP',
  'node-id': 'fuse_entry_out',
  'notification-suppression': '2.7.7',
  'notification-queue': '5.11.6.3',
  'packed-ring': '2.8',
  'pci-capability': '4.1.4',
  register: '4.1.4.3',
  reply: 'fuse_out_header',
  request: 'fuse_in_header',
  reset: '2.4',
  session: '5.11.6',
  'used-ring': '2.7.8',
  'virtio-fs': '5.11',
  virtqueue: '2.6',
} as const satisfies Record<string, Where>;
export type TermId = keyof typeof TERMS;

/** What a glossary is opened by: bubbles up to whoever has it. */
function termEvent(id: string): CustomEvent<string> {
  return new CustomEvent('term', { detail: id, bubbles: true, composed: true });
}

/** Words with a link to a section of virtio 1.3; alone where a course names one that is not known here. */
export function virtioLink(content: unknown, number: string): unknown {
  return isSection(number) ? away(`${VIRTIO}#${ANCHORS[number]}`, content, `virtio 1.3, section ${number}`) : content;
}

/** Words with a link to where what they name is specified. */
export function specified(content: unknown, where: Where): unknown {
  return isSection(where) ? virtioLink(content, where) : linuxName(where, content);
}

/** Words with a link to where what they name is specified, and a button that opens the glossary at `term`. */
export function explained(content: unknown, term: TermId, where: Where = TERMS[term]): TemplateResult {
  const title = `Glossary: ${term.replaceAll('-', ' ')}`;
  return html`${specified(content, where)}<button class="glossary" data-term=${term} aria-label=${title} title=${title} @click=${({ target }: Event) => target!.dispatchEvent(termEvent(term))}></button>`;
}

/** A name of Linux's fuse.h, with a link to where it is defined. */
export function linuxName(name: string, shown: unknown = name): TemplateResult {
  return away(LINUX + encodeURIComponent(name), shown, `${name} in Linux`);
}

/** A source as the steps of a walk name it: a section with its title, or names of fuse.h. @throws Error for one that is not known. */
export function source(section: string): TemplateResult {
  const [number] = /^\d+(\.\d+)*/.exec(section) ?? [];
  if (number && isSection(number)) return html`virtio 1.3, section ${virtioLink(section, number)}`;
  const [, names] = /^fuse\.h: ((?:(?:struct )?[A-Za-z]\w+(?:, |$))+)$/.exec(section) ?? [];
  if (!names) throw new Error(`the page knows no section “${section}”`);
  return html`Linux, fuse.h: ${names.split(', ').map((name, n) => [n ? ', ' : '', linuxName(name.replace(/^struct /, ''), name)])}`;
}
