import { html, nothing, type TemplateResult } from 'lit';
import { Lexer, type Token, type Tokens } from 'marked';
import { linuxName, virtioLink } from '../inspector/spec.ts';
import type { Prose } from './course-format.ts';

/** Characters of one paragraph that are read as Markdown; a longer one is shown as it is. */
const MAX_INLINE = 4000;
const MAX_DEPTH = 8;

/** What a text can do where it is shown. */
export interface ProseOptions {
  /** Opens the glossary. */
  onTerm: (id: string) => void;
  /** Something is pointed at that is elsewhere on the page. */
  onPoint?: (mark: string | undefined) => void;
}

/**
 * Markdown as elements. Nothing of it becomes HTML: what looks like that is shown as text, pictures by their descriptions, and links lead
 * to https, to specifications, to the glossary, or to what is beside the text.
 */
export function renderProse(prose: Prose, options: ProseOptions): unknown {
  return prose.map((token) => block(token, options, 0));
}

function block(token: Token, options: ProseOptions, depth: number): unknown {
  if (depth > MAX_DEPTH) return token.raw;
  const inner = (tokens: readonly Token[] | undefined) => (tokens ?? []).map((each) => block(each, options, depth + 1));
  switch (token.type) {
    case 'heading':
      return html`<h4>${inline(token.text, options)}</h4>`;
    case 'paragraph':
      return html`<p>${inline(token.text, options)}</p>`;
    case 'text':
      return inline(token.text, options);
    case 'code':
      return html`<pre class="code"><code>${token.text}</code></pre>`;
    case 'blockquote':
      return html`<blockquote>${inner(token.tokens)}</blockquote>`;
    case 'list': {
      const { ordered, items } = token as Tokens.List;
      const each = items.map((item) => html`<li>${inner(item.tokens)}</li>`);
      return ordered ? html`<ol>${each}</ol>` : html`<ul>${each}</ul>`;
    }
    case 'table': {
      const { header, rows } = token as Tokens.Table;
      const cells = (row: Tokens.TableCell[]) => row.map(({ text }) => html`<td>${inline(text, options)}</td>`);
      return html`<div class="wide"><table><thead><tr>${header.map(({ text }) => html`<th>${inline(text, options)}</th>`)}</tr></thead>
        <tbody>${rows.map((row) => html`<tr>${cells(row)}</tr>`)}</tbody></table></div>`;
    }
    case 'hr':
      return html`<hr>`;
    case 'space':
    case 'def':
      return nothing;
    default:
      return html`<p>${token.raw}</p>`;
  }
}

/** A line of Markdown as elements. */
export function inline(text: string, options: ProseOptions): unknown {
  return text.length > MAX_INLINE ? text : Lexer.lexInline(text).map((token) => span(token, options, 0));
}

function span(token: Token, options: ProseOptions, depth: number): unknown {
  if (depth > MAX_DEPTH) return token.raw;
  const inner = () =>
    'tokens' in token && token.tokens ? token.tokens.map((each) => span(each, options, depth + 1)) : unescaped(token);
  switch (token.type) {
    case 'text':
    case 'escape':
      return inner();
    case 'strong':
      return html`<strong>${inner()}</strong>`;
    case 'em':
      return html`<em>${inner()}</em>`;
    case 'codespan':
      return html`<code>${unescaped(token)}</code>`;
    case 'br':
      return html`<br>`;
    case 'del':
      return html`<del>${inner()}</del>`;
    case 'image':
      return `[${token.text}]`;
    case 'link':
      return link((token as Tokens.Link).href, inner(), options);
    default:
      return token.raw;
  }
}

function unescaped(token: Token): string {
  return 'text' in token ? String(token.text) : token.raw;
}

function link(href: string, content: unknown, { onTerm, onPoint }: ProseOptions): unknown {
  const [, scheme, target = ''] = /^([a-z]+):(.*)$/.exec(href) ?? [];
  switch (scheme) {
    case 'https':
      return html`<a href=${href} target="_blank" rel="noopener noreferrer nofollow">${content}</a>`;
    case 'virtio':
      return virtioLink(content, target);
    case 'linux':
      return linuxName(target, content);
    case 'term':
      return html`<button class="term" @click=${() => onTerm(target)}>${content}</button>`;
    case 'mark':
      return onPoint ? pointer(target, content, onPoint) : content;
    default:
      return content;
  }
}

/** Words that mark what they speak of, as long as they are pointed at. */
function pointer(mark: string, content: unknown, onPoint: NonNullable<ProseOptions['onPoint']>): TemplateResult {
  return html`<button class="pointer" @mouseenter=${() => onPoint(mark)} @mouseleave=${() => onPoint(undefined)} @focus=${() => onPoint(mark)} @blur=${() => onPoint(undefined)}>${content}</button>`;
}
