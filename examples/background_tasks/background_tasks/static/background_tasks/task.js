// One task: its row, a line for each of its runs, and a bar for each on the track.

const KEPT = 5; // runs of a task that are listed: a schedule goes on for ever

export class Task {
  runs = [];
  sentence = "";

  constructor(name) {
    this.name = name;
    this.row = document.getElementById("task").content.firstElementChild.cloneNode(true);
    this.part("name").textContent = name;
  }

  hear({ what, at, worker, attempt, error }) {
    if (what === "asked") this.wait(at);
    else if (what === "running") this.run(at, worker, attempt);
    else this.end(what, at, error);
    this.part("sentence").textContent = this.sentence;
    this.row.dataset.state = what;
  }

  wait(at) {
    this.waiting = this.bar("waits", at);
    this.asked = at;
    this.sentence = `asked for at ${clock(at)}`;
  }

  run(at, worker, attempt) {
    if (this.waiting) end(this.waiting, at);
    this.waiting = null;
    if (this.present) this.end("failed", at, "nothing was heard of it again: its worker died");
    const waited = this.asked && !this.runs.length ? `, ${seconds(at - this.asked)} after it was asked for` : "";
    this.sentence = `${attempt > 1 ? `attempt ${attempt} runs` : "runs"}${waited}`;
    const line = document.createElement("li");
    this.present = { at, worker, bar: this.bar("running", at), line };
    this.runs.push(this.present);
    this.part("runs").append(line);
    if (this.runs.length > KEPT) this.runs.shift().line.remove();
    line.textContent = `since ${clock(at)} in ${worker}`;
  }

  end(what, at, error) {
    const how = what === "done" ? "done" : `${what}: ${error}`;
    this.sentence = how;
    if (!this.present) return;
    const { bar, line, worker } = this.present;
    end(bar, at);
    bar.dataset.state = what;
    this.sentence = `${how}, after ${seconds(at - this.present.at)}`;
    line.textContent = `${clock(this.present.at)} to ${clock(at)} in ${worker}: ${how}`;
    this.present = null;
  }

  bar(state, at) {
    const bar = document.createElement("span");
    bar.dataset.state = state;
    bar.style.setProperty("--from", at);
    this.part("track").append(bar);
    return bar;
  }

  part(name) {
    return this.row.querySelector(`.${name}`);
  }
}

const end = (bar, at) => bar.style.setProperty("--to", at);
const seconds = (value) => `${value.toFixed(1)} s`;

/** `20:15:30.9`, by the clock on the wall; `at` is in seconds since the epoch. */
function clock(at) {
  const tenths = Math.round(at * 10);
  return `${new Date(tenths * 100).toTimeString().slice(0, 8)}.${tenths % 10}`;
}
