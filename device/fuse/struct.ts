/**
 * C structs as declared tables. A layout knows each field's offset and makes views: objects with one
 * accessor per field over a DataView, little-endian. A view copies nothing and allocates nothing on
 * access (but bigints and `bytes`); it shows whatever is in the buffer at the moment.
 */

/** One field's type: how wide, how aligned, how read and written. */
export interface FieldType<Value> {
  readonly size: number;
  readonly alignment: number;
  get(view: DataView, offset: number): Value;
  set(view: DataView, offset: number, value: Value): void;
}

export const u16: FieldType<number> = {
  size: 2,
  alignment: 2,
  get: (view, offset) => view.getUint16(offset, true),
  set: (view, offset, value) => view.setUint16(offset, value, true),
};

export const u32: FieldType<number> = {
  size: 4,
  alignment: 4,
  get: (view, offset) => view.getUint32(offset, true),
  set: (view, offset, value) => view.setUint32(offset, value, true),
};

export const i32: FieldType<number> = {
  size: 4,
  alignment: 4,
  get: (view, offset) => view.getInt32(offset, true),
  set: (view, offset, value) => view.setInt32(offset, value, true),
};

/** A uint64_t that is opaque or must be exact. */
export const u64: FieldType<bigint> = {
  size: 8,
  alignment: 8,
  get: (view, offset) => view.getBigUint64(offset, true),
  set: (view, offset, value) => view.setBigUint64(offset, value, true),
};

const WORD = 2 ** 32;

/**
 * A uint64_t as a number, for sizes, offsets and identifiers on the hot path. What is beyond 2^53
 * reads as `Number.MAX_SAFE_INTEGER`: larger than any file, the number of no inode and no handle.
 */
export const n64: FieldType<number> = {
  size: 8,
  alignment: 8,
  get(view, offset) {
    const value = view.getUint32(offset + 4, true) * WORD + view.getUint32(offset, true);
    return Math.min(value, Number.MAX_SAFE_INTEGER);
  },
  set(view, offset, value) {
    view.setUint32(offset, value, true);
    view.setUint32(offset + 4, Math.floor(value / WORD), true);
  },
};

/** An int64_t as a number, for seconds; limited to the safe integers like {@link n64}. */
export const s64: FieldType<number> = {
  size: 8,
  alignment: 8,
  get(view, offset) {
    const value = view.getInt32(offset + 4, true) * WORD + view.getUint32(offset, true);
    return Math.max(Number.MIN_SAFE_INTEGER, Math.min(value, Number.MAX_SAFE_INTEGER));
  },
  set: n64.set,
};

/** `count` numbers' worth of spare or padding, as raw bytes. Reads borrow the buffer. */
export function spare(unit: FieldType<unknown>, count: number): FieldType<Uint8Array> {
  const size = unit.size * count;
  return {
    size,
    alignment: unit.alignment,
    get: (view, offset) => new Uint8Array(view.buffer, view.byteOffset + offset, size),
    set: (view, offset, value) => new Uint8Array(view.buffer, view.byteOffset + offset, size).set(value),
  };
}

type Declaration = Record<string, FieldType<unknown>>;

/** The view of a layout: its fields, read from and written to the buffer. */
export type View<L> = L extends Layout<infer D> ? Fields<D> : never;
export type Fields<D extends Declaration> = {
  [K in keyof D]: D[K] extends Layout<infer N> ? Fields<N> : D[K] extends FieldType<infer V> ? V : never;
};

/** A struct: also a field type, for structs within structs, which read as views. */
export interface Layout<D extends Declaration = Declaration> extends FieldType<object> {
  readonly name: string;
  readonly fields: D;
  /** Bytes from the start of the struct to each field. */
  readonly offsets: { readonly [K in keyof D]: number };
  /** A view of the struct at byte `base` of `view`, which stays borrowed. */
  at(view: DataView, base: number): Fields<D>;
  /** The fields copied out as plain data, padding left out: for traces. */
  decode(view: DataView, base: number): Record<string, unknown>;
}

/** A reserved field: not worth showing, of no meaning. */
const RESERVED = /^(padding|dummy|spare|unused|reserved|__)/;

/** Declares a struct with C's rules of alignment: fields in order, names as in the header. */
export function struct<D extends Declaration>(name: string, fields: D): Layout<D> {
  const offsets: Record<string, number> = {};
  let end = 0;
  let alignment = 1;
  for (const [field, type] of Object.entries(fields)) {
    end = Math.ceil(end / type.alignment) * type.alignment;
    offsets[field] = end;
    end += type.size;
    alignment = Math.max(alignment, type.alignment);
  }
  const ViewOfStruct = viewClass(fields, offsets);
  const at = (view: DataView, base: number): Fields<D> => new ViewOfStruct(view, base) as unknown as Fields<D>;
  return {
    name,
    fields,
    offsets: offsets as Layout<D>['offsets'],
    size: Math.ceil(end / alignment) * alignment,
    alignment,
    at,
    get: at,
    set: () => {
      throw new TypeError(`struct ${name} is written field by field`);
    },
    decode(view, base) {
      const plain: Record<string, unknown> = {};
      for (const [field, type] of Object.entries(fields)) {
        if (RESERVED.test(field)) continue;
        const offset = base + offsets[field]!;
        plain[field] = 'decode' in type ? (type as Layout).decode(view, offset) : type.get(view, offset);
      }
      return plain;
    },
  };
}

class StructView {
  readonly view: DataView;
  readonly base: number;

  constructor(view: DataView, base: number) {
    this.view = view;
    this.base = base;
  }
}

function viewClass(fields: Declaration, offsets: Record<string, number>): typeof StructView {
  const nested = Object.entries(fields).filter(([, type]) => 'at' in type) as [string, Layout][];
  class ViewOfStruct extends StructView {
    constructor(view: DataView, base: number) {
      super(view, base);
      for (const [field, layout] of nested) {
        Object.defineProperty(this, field, { value: layout.at(view, base + offsets[field]!), enumerable: true });
      }
    }
  }
  for (const [field, type] of Object.entries(fields)) {
    if ('at' in type) continue;
    const offset = offsets[field]!;
    Object.defineProperty(ViewOfStruct.prototype, field, {
      get(this: StructView) {
        return type.get(this.view, this.base + offset);
      },
      set(this: StructView, value: unknown) {
        type.set(this.view, this.base + offset, value);
      },
    });
  }
  return ViewOfStruct;
}
