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

/** The address of a section, by its number. */
function sectionUrl(number: string): string {
  return `${VIRTIO}#${ANCHORS[number]}`;
}

/** A link that leaves the page where it is. */
function away(href: string, content: unknown, title: string): TemplateResult {
  return html`<a class="spec" href=${href} target="_blank" rel="noopener noreferrer" title=${title}>${content}</a>`;
}

/** Entries of the course's glossary, by the sections that explain the same. */
const TERMS: Record<string, string> = {
  '2.1': 'device-status',
  '2.2': 'feature',
  '2.6': 'virtqueue',
  '2.7.5': 'descriptor',
  '2.7.6': 'available-ring',
  '2.7.8': 'used-ring',
  '2.8': 'packed-ring',
  '2.8.10': 'notification-suppression',
  '4.1.4': 'pci-capability',
  '4.1.5.3': 'interrupt',
  '5.11': 'virtio-fs',
};

/** What a glossary is opened by: bubbles up to whoever has it. */
function termEvent(id: string): CustomEvent<string> {
  return new CustomEvent('term', { detail: id, bubbles: true, composed: true });
}

/** Words with a link to a section of virtio 1.3; alone where that is not known here. */
export function virtioLink(content: unknown, number: string): unknown {
  return Object.hasOwn(ANCHORS, number) ? away(sectionUrl(number), content, `virtio 1.3, section ${number}`) : content;
}

/** A term, with a link to the section of virtio 1.3 that explains it, and a button that opens the glossary where that does too. */
export function virtioTerm(term: string, number: string): TemplateResult {
  const id = TERMS[number];
  return html`${virtioLink(term, number)}${
    id
      ? html`<button class="glossary" aria-label=${`Glossary: ${term}`} title="Glossary" @click=${({ target }: Event) => target!.dispatchEvent(termEvent(id))}>?</button>`
      : ''
  }`;
}

/** A name of Linux's fuse.h, with a link to where it is defined. */
export function linuxName(name: string, shown: unknown = name): TemplateResult {
  return away(LINUX + encodeURIComponent(name), shown, `${name} in Linux`);
}

/** A source as the steps of a walk name it: a section with its title, or names of fuse.h. */
export function source(section: string): TemplateResult {
  const number = /^[\d.]+\d/.exec(section)?.[0];
  if (number) return html`virtio 1.3, section ${virtioLink(section, number)}`;
  const names = section.replace(/^fuse\.h: /, '').split(', ');
  return html`Linux, fuse.h: ${names.map((name, n) => [n ? ', ' : '', linuxName(name.replace(/^struct /, ''), name)])}`;
}
