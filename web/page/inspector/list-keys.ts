/** Where a key goes to in a list of `count`: arrows, Home and End, as WAI-ARIA has it for lists. Undefined for other keys. */
export function listTarget(event: KeyboardEvent, count: number, current: number | undefined): number | undefined {
  const [before, after] = current === undefined ? [count - 1, 0] : [current - 1, current + 1];
  const target = { ArrowDown: after, ArrowRight: after, ArrowUp: before, ArrowLeft: before, Home: 0, End: count - 1 }[
    event.key
  ];
  if (target === undefined || count === 0) return undefined;
  event.preventDefault();
  return Math.max(0, Math.min(target, count - 1));
}
