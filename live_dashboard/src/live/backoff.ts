/** Wait before the n-th try to reconnect, n from 1: doubling from 0.25 s to 15 s, the upper half by chance. */
export function backoffMs(attempt: number, chance: number): number {
  const whole = Math.min(15_000, 250 * 2 ** Math.min(attempt - 1, 10));
  return whole / 2 + (whole / 2) * chance;
}
