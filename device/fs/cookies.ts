/** Cookies of directory entries: where a reader continues after an entry. 0 is the start. */
export const DOT_COOKIE = 1;
export const DOT_DOT_COOKIE = 2;
/** Of the first entry after "." and "..". */
export const FIRST_COOKIE = 3;
/** No cookie is larger: 32-bit programs without large file support take no more. */
export const MAX_COOKIE = 2 ** 31 - 1;

/** Where the first of these rising cookies is that is larger than `cookie`. */
export function firstAfter(cookies: ArrayLike<number>, cookie: number): number {
  let [low, high] = [0, cookies.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (cookies[middle]! <= cookie) low = middle + 1;
    else high = middle;
  }
  return low;
}
