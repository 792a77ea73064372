// What the arrival times of frames say: all in milliseconds.

export const DELAY = 200;
export const FRAMES = 35;

/** How late each frame after the first came: its gap to the frame before, minus the delay. */
export const eachStep = (arrivals) => arrivals.slice(1).map((at, i) => at - arrivals[i] - DELAY);

/** How late the run is at each frame after the first: the time since the first, minus the delays. */
export const wholeRun = (arrivals) => arrivals.slice(1).map((at, i) => at - arrivals[0] - DELAY * (i + 1));

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** `3.2 ms`; from 100 ms on without a decimal, which would only pretend. */
export const inMs = (value) => `${value.toFixed(Math.abs(value) < 100 ? 1 : 0)} ms`;
