// One run: a WebSocket of its own, and the card that shows it.

import { FRAMES, eachStep, inMs, median, wholeRun } from "./lateness.js";
import { plotArea, plotBars } from "./plot.js";

export class Run {
  arrivals = [];
  progress = 0;
  state = "waiting"; // then "playing", and in the end "done" or "broken"
  trouble = "";

  constructor(number, name, onEnd) {
    this.onEnd = onEnd;
    this.name = name;
    this.card = document.getElementById("run").content.firstElementChild.cloneNode(true);
    this.card.style.setProperty("--hue", `var(--hue-${number % 5})`);
    this.part("name").textContent = name;
    this.part("name").id = `run-${number}`;
    for (const element of [this.card, this.part("bar")]) element.setAttribute("aria-labelledby", `run-${number}`);
    this.show();
    this.connect();
  }

  get ended() {
    return this.state === "done" || this.state === "broken";
  }

  connect() {
    const { protocol, host } = window.location;
    this.socket = new WebSocket(`${protocol === "https:" ? "wss" : "ws"}://${host}/prog/`);
    this.socket.onopen = () => this.socket.send(JSON.stringify({ action: "start" }));
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data), performance.now());
    this.socket.onclose = () => this.end("broken", "The connection closed before the end.");
  }

  receive(frame, now) {
    if (frame.error) return this.end("broken", frame.error);
    this.arrivals.push(now);
    this.progress = frame.progress;
    this.state = "playing";
    if (frame.complete) return this.end("done");
    // Frames only leave their time here; the drawing waits its turn, so as not to delay the next one.
    this.drawing ??= requestAnimationFrame(() => this.show());
  }

  end(state, trouble = "") {
    if (this.ended) return;
    this.state = state;
    this.trouble = trouble;
    this.socket.close();
    this.show();
    this.onEnd(this);
  }

  show() {
    this.drawing = null;
    const { card, arrivals, progress, state } = this;
    card.dataset.state = state;
    card.style.setProperty("--progress", progress / 100);
    this.part("percent").textContent = `${progress}%`;
    this.part("bar").setAttribute("aria-valuenow", progress);
    this.part("state").textContent = this.sentence;
    const steps = eachStep(arrivals);
    plotBars(this.part("steps"), steps, "each step");
    plotArea(this.part("whole"), wholeRun(arrivals), "the whole run");
    this.part("frames").textContent = `${arrivals.length} of ${FRAMES}`;
    if (!steps.length) return;
    this.part("seconds").textContent = `${((arrivals.at(-1) - arrivals[0]) / 1000).toFixed(3)} s`;
    this.part("median").textContent = inMs(median(steps));
    this.part("max").textContent = inMs(Math.max(...steps));
  }

  get sentence() {
    if (this.state === "waiting") return "The needle goes down …";
    if (this.state === "playing") return `Frame ${this.arrivals.length} of ${FRAMES}`;
    if (this.state === "broken") return this.trouble;
    return `Done, ${inMs(wholeRun(this.arrivals).at(-1))} late`;
  }

  part(name) {
    return this.card.querySelector(`.${name}`);
  }
}
