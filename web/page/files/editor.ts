import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { HighlightStyle, StreamLanguage, type StreamParser, syntaxHighlighting } from '@codemirror/language';
import { c, cpp } from '@codemirror/legacy-modes/mode/clike';
import { javascript, json, typescript } from '@codemirror/legacy-modes/mode/javascript';
import { python } from '@codemirror/legacy-modes/mode/python';
import { shell } from '@codemirror/legacy-modes/mode/shell';
import { toml } from '@codemirror/legacy-modes/mode/toml';
import { yaml } from '@codemirror/legacy-modes/mode/yaml';
import { search, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState, type Extension } from '@codemirror/state';
import { EditorView, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { css, LitElement, type PropertyValues } from 'lit';

/** By what names end with. */
const LANGUAGES: Record<string, StreamParser<unknown>> = {
  c,
  h: c,
  cpp,
  js: javascript,
  json,
  mjs: javascript,
  py: python,
  sh: shell,
  toml,
  ts: typescript,
  yaml,
  yml: yaml,
};
/** By what a script's first line names. */
const INTERPRETERS: [RegExp, StreamParser<unknown>][] = [
  [/^#!.*\bpython/, python],
  [/^#!.*\bnode\b/, javascript],
  [/^#!.*sh\b/, shell],
];
/** Files whose history of changes is kept while others are shown. */
const MAX_KEPT = 30;

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.atom, tags.bool, tags.definitionKeyword], color: 'var(--accent)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--good)' },
  { tag: [tags.number, tags.meta, tags.labelName], color: 'var(--warn)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
]);

const theme = EditorView.theme({
  '&': { height: '100%', fontSize: '12.5px', backgroundColor: 'var(--surface)', color: 'var(--text)' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-2px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.5' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--raised)', color: 'var(--muted)', borderColor: 'var(--border)' },
  '.cm-panels': { backgroundColor: 'var(--raised)', color: 'var(--text)', borderColor: 'var(--border)' },
  '.cm-textfield, .cm-button': {
    backgroundColor: 'var(--surface)',
    backgroundImage: 'none',
    color: 'var(--text)',
    borderColor: 'var(--border)',
  },
  '.cm-searchMatch': { backgroundColor: 'var(--accent-soft)', outline: '1px solid var(--accent)' },
});

/** What depends on the element that shows a file. */
const changing = new Compartment();
/** Histories by what a file belongs to, and its path. */
const kept = new WeakMap<object, Map<string, EditorState>>();

/** A text with its line numbers, colours and history. Dispatches `input` when the visitor has changed it, `save` for Ctrl+S. */
export class TextEditor extends LitElement {
  static override properties = {
    owner: { attribute: false },
    path: { attribute: false },
    text: { attribute: false },
    label: { attribute: false },
    wraps: { type: Boolean },
    readonly: { type: Boolean },
  };
  static override styles = css`
    :host { display: block; flex: 1; min-height: 0; overflow: hidden; }
  `;

  /** What the file belongs to: its history is of this and the path. */
  declare owner: object;
  declare path: string;
  /** What is to be shown; {@link value} has what the visitor made of it. */
  declare text: string;
  declare label: string;
  declare wraps: boolean;
  declare readonly: boolean;
  #view: EditorView | undefined;
  /** The text is being put in from outside. */
  #isSetting = false;

  get value(): string {
    return this.#view?.state.doc.toString() ?? this.text;
  }

  override focus(): void {
    this.#view?.focus();
  }

  override updated(changed: PropertyValues<this>): void {
    this.#isSetting = true;
    if (this.#view && (changed.has('owner') || changed.has('path'))) {
      this.#keep(changed);
      this.#view.setState(this.#state);
    }
    const view = (this.#view ??= new EditorView({
      state: this.#state,
      parent: this.renderRoot,
      root: this.renderRoot as ShadowRoot,
    }));
    view.dispatch({ effects: changing.reconfigure(this.#look()) });
    if (this.value !== this.text) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: this.text } });
    this.#isSetting = false;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#keep(new Map());
    this.#view?.destroy();
    this.#view = undefined;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // It was taken out, and has no view any more.
    if (this.hasUpdated) this.requestUpdate();
  }

  /** `changed`: what the last file was called. */
  #keep(changed: Pick<PropertyValues<this>, 'get' | 'has'>): void {
    const owner = (changed.get('owner') as object | undefined) ?? this.owner;
    const path = (changed.get('path') as string | undefined) ?? this.path;
    if (!this.#view || !path) return;
    const states = kept.get(owner) ?? new Map<string, EditorState>();
    states.delete(path);
    states.set(path, this.#view.state);
    for (const oldest of states.keys()) if (states.size > MAX_KEPT) states.delete(oldest);
    kept.set(owner, states);
  }

  /** As it was left, or a new one. */
  get #state(): EditorState {
    return kept.get(this.owner)?.get(this.path) ?? this.#begin();
  }

  #begin(): EditorState {
    return EditorState.create({
      doc: this.text,
      extensions: [
        // A carriage return alone is a character like others.
        EditorState.lineSeparator.of('\n'),
        history(),
        highlightSpecialChars(),
        lineNumbers(),
        search({ top: true }),
        syntaxHighlighting(colours),
        theme,
        keymap.of([...searchKeymap, ...historyKeymap, ...defaultKeymap]),
        this.#languageOf(),
        changing.of([]),
      ],
    });
  }

  #languageOf(): Extension {
    const parser =
      LANGUAGES[/\.(\w+)$/.exec(this.path)?.[1] ?? ''] ?? INTERPRETERS.find(([line]) => line.test(this.text))?.[1];
    return parser ? StreamLanguage.define(parser) : [];
  }

  /** What may change while a file is shown, of this element. */
  #look(): Extension {
    return [
      this.wraps ? EditorView.lineWrapping : [],
      keymap.of([{ key: 'Mod-s', run: () => this.dispatchEvent(new Event('save')) }]),
      EditorState.readOnly.of(this.readonly),
      EditorView.contentAttributes.of({ 'aria-label': this.label, tabindex: '0' }),
      EditorView.updateListener.of(({ docChanged }) => {
        if (docChanged && !this.#isSetting) this.dispatchEvent(new Event('input'));
      }),
    ];
  }
}

customElements.define('vm-text-editor', TextEditor);
