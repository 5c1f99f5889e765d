import { html, type TemplateResult } from 'lit';

const VIRTIO = 'https://docs.oasis-open.org/virtio/virtio/v1.3/csd01/virtio-v1.3-csd01.html';
/** Finds where Linux defines a name. */
const LINUX = 'https://elixir.bootlin.com/linux/latest/C/ident/';

/** Where virtio 1.3's sections begin in its page, by their numbers. */
const ANCHORS: Record<string, string> = {
  '2.1': 'x1-110001',
  '2.1.2': 'x1-130002',
  '2.2': 'x1-140002',
  '2.6': 'x1-270006',
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
  '4.1.5.2': 'x1-1720002',
  '4.1.5.3': 'x1-1740003',
  '5.11': 'x1-49600011',
  '5.11.4': 'x1-5000004',
  '5.11.6': 'x1-5040006',
};

/** The address of a section, by its number. @throws Error for one that nobody has linked to yet. */
function sectionUrl(number: string): string {
  const anchor = ANCHORS[number];
  if (!anchor) throw new Error(`section ${number} of virtio 1.3 has no address here`);
  return `${VIRTIO}#${anchor}`;
}

/** A link that leaves the page where it is. */
function away(href: string, content: unknown, title: string): TemplateResult {
  return html`<a class="spec" href=${href} target="_blank" rel="noopener noreferrer" title=${title}>${content}</a>`;
}

/** A term, with a link to the section of virtio 1.3 that explains it. */
export function virtioTerm(term: unknown, number: string): TemplateResult {
  return away(sectionUrl(number), term, `virtio 1.3, section ${number}`);
}

/** A name of Linux's fuse.h, with a link to where it is defined. */
export function linuxName(name: string, shown: unknown = name): TemplateResult {
  return away(LINUX + encodeURIComponent(name), shown, `${name} in Linux`);
}

/** A source as the steps of a walk name it: a section with its title, or names of fuse.h. */
export function source(section: string): TemplateResult {
  const number = /^[\d.]+\d/.exec(section)?.[0];
  if (number) return html`virtio 1.3, section ${virtioTerm(section, number)}`;
  const names = section.replace(/^fuse\.h: /, '').split(', ');
  return html`Linux, fuse.h: ${names.map((name, n) => [n ? ', ' : '', linuxName(name.replace(/^struct /, ''), name)])}`;
}
