// The pulse: one small request after the other, and how long the web worker took for each.

const PAUSE = 100; // milliseconds between an answer and the next request
const SHOWN = 100; // bars
const SLOW = 500; // milliseconds; a bar of full height, and red

export class Pulse {
  times = [];
  asked = null; // when the request that is under way began

  constructor(chart, words) {
    this.chart = chart;
    this.words = words;
  }

  async start() {
    for (;;) {
      this.asked = performance.now();
      const ok = await fetch("/ping/", { cache: "no-store" }).then((reply) => reply.ok, () => false);
      if (ok) this.beat(performance.now() - this.asked);
      else this.words.textContent = "No answer: is the server running?";
      this.asked = null;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }

  beat(took) {
    this.times.push(took);
    const bar = document.createElement("span");
    bar.style.setProperty("--height", Math.min(took / SLOW, 1));
    bar.dataset.state = took < SLOW ? "done" : "failed";
    this.chart.append(bar);
    if (this.chart.childElementCount > SHOWN) this.chart.firstElementChild.remove();
    const recent = this.times.slice(-SHOWN);
    this.words.textContent = `The last took ${inMs(took)}, the slowest of the last ${recent.length} took ${inMs(Math.max(...recent))}.`;
  }

  mark() {
    return this.times.length;
  }

  /** What was answered since `mark`; the request that is under way counts with the time that it waits already. */
  since(mark) {
    const times = this.times.slice(mark);
    const waits = this.asked === null ? [] : [performance.now() - this.asked];
    if (!times.length && !waits.length) return "Meanwhile nobody else asked the web worker.";
    const longest = inMs(Math.max(...times, ...waits));
    const others = times.length === 1 ? "1 other request" : `${times.length} other requests`;
    return `Meanwhile the web worker answered ${others}; the longest wait was ${longest}.`;
  }
}

const inMs = (value) => `${value.toFixed(0)} ms`;
