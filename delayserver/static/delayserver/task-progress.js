// <task-progress socket="/ws/progress/TOKEN/" href="/progress/TOKEN/" label="Export"></task-progress>
//
// Shows a piece of work as it goes on. Its attributes, parts and events stand in docs/reference/task-progress.md.
// A `Line` brings frames, a `Pace` says how long the work may still take, and `TaskProgress` shows both.

const FIRST_WAIT = 250; // ms before a socket is tried again; doubled each time, and never over the last
const LAST_WAIT = 10_000;
const FIRST_POLL = 1000; // ms between questions to the HTTP twin; longer while the answer is the same
const LAST_POLL = 5000;
const POLLING_WAIT = 30_000; // ms before the next socket, while the twin answers
const GIVEN_UP = 10; // sockets in a row that brought nothing
const GIVEN_UP_WAIT = 60_000;
const REFUSED = { 4404: "missing", 4403: "forbidden" };
const BROKEN = ["lost", "given-up"];
const OVER = ["succeeded", "failed", "timed_out", "cancelled"];

/**
 * Brings frames over a WebSocket, and over its HTTP twin where no socket can be had. It tells `hears` three things:
 * `hears.frame(frame)`, which answers whether that was news; `hears.link("live" | "polling" | "lost" | "given-up")`;
 * and `hears.refused("missing" | "forbidden")`, after which it is closed.
 */
class Line {
  #socket = null;
  #timer = 0; // until this socket counts as failed, or the next is tried
  #failed = 0; // sockets in a row that brought nothing
  #heard = false; // some socket has brought a frame
  #asking = null; // while the twin is asked, now and then: what aborts that
  #answers = false; // the twin does
  #polling = 0; // until it is asked again
  #pause = FIRST_POLL;
  #etag = "";

  constructor(socket, twin, hears) {
    Object.assign(this, { socket, twin, hears });
  }

  open() {
    this.#drop();
    const socket = (this.#socket = new WebSocket(this.socket));
    socket.onmessage = ({ data }) => this.#message(JSON.parse(data));
    socket.onclose = ({ code }) => this.#closed(code);
    this.#timer = setTimeout(() => this.#closed(), LAST_WAIT); // a proxy may keep silent
  }

  /** Try at once, unless there is a socket; `anew`, even then. */
  hurry(anew = false) {
    if (this.#socket && !anew) return;
    this.open();
    if (!this.#asking) return;
    this.#stopAsking();
    this.#ask();
  }

  /** Leave nothing: no socket, no timer, no request. */
  close() {
    this.#drop();
    this.#stopAsking();
    this.#failed = 0;
  }

  #drop() {
    clearTimeout(this.#timer);
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #message(frame) {
    clearTimeout(this.#timer);
    this.#stopAsking();
    this.#heard = true;
    // A server that only ever repeats itself and closes is not asked four times a second.
    this.#failed = this.hears.frame(frame) ? 0 : Math.min(this.#failed, 3);
    if (this.#socket) this.hears.link("live"); // who heard it may have closed the line
  }

  #closed(code) {
    this.#drop();
    if (code in REFUSED) return this.#refuse(code);
    if (!this.#answers) this.#failed += 1;
    if (this.twin && !this.#asking && this.#failed >= (this.#heard ? 5 : 2)) this.#ask();
    this.#tellTrouble();
    this.#timer = setTimeout(() => this.open(), this.#wait());
  }

  #wait() {
    if (this.#answers) return POLLING_WAIT;
    if (this.#failed >= GIVEN_UP) return GIVEN_UP_WAIT;
    const longest = Math.min(FIRST_WAIT * 2 ** (this.#failed - 1), LAST_WAIT);
    return longest * (0.75 + Math.random() / 4); // or all browsers would come back together
  }

  #tellTrouble() {
    this.hears.link(this.#answers ? "polling" : this.#failed < GIVEN_UP ? "lost" : "given-up");
  }

  async #ask() {
    const asking = (this.#asking ??= new AbortController());
    try {
      const headers = { Accept: "application/json", ...(this.#etag && { "If-None-Match": this.#etag }) };
      const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(LAST_WAIT)]);
      await this.#answered(await fetch(this.twin, { headers, signal, cache: "no-store" }), asking);
    } catch {
      this.#answers = false;
      this.#pause = this.#failed < GIVEN_UP ? LAST_POLL : GIVEN_UP_WAIT;
    }
    if (asking.signal.aborted) return;
    this.#tellTrouble();
    this.#polling = setTimeout(() => this.#ask(), this.#pause);
  }

  async #answered(answer, asking) {
    if (4000 + answer.status in REFUSED) return this.#refuse(4000 + answer.status);
    if (!answer.ok && answer.status !== 304) throw new Error(`expected a frame, got status ${answer.status}`);
    const frame = answer.ok && (await answer.json());
    this.#answers = true;
    this.#pause = frame ? FIRST_POLL : Math.min(this.#pause * 1.5, LAST_POLL);
    this.#etag = answer.headers.get("ETag") ?? this.#etag;
    if (frame && !asking.signal.aborted) this.hears.frame(frame);
  }

  #stopAsking() {
    clearTimeout(this.#polling);
    this.#asking?.abort();
    this.#asking = null;
    this.#answers = false;
    this.#pause = FIRST_POLL;
  }

  #refuse(code) {
    this.close();
    this.hears.refused(REFUSED[code]);
  }
}

/** How fast it goes, smoothed over the last seconds, and the longer it lasts over more. Standstill counts too. */
class Pace {
  #speed = 0; // per ms
  #weight = 0; // how much of `#speed` is known: from 0 to 1
  #watched = 0; // ms
  #last = null;

  /** `current` as it is `now` (ms); null for a time of which nothing is known. */
  add(now, current) {
    const last = this.#last;
    this.#last = current === null ? null : { now, current };
    if (!last || current === null || now === last.now) return;
    const passed = now - last.now;
    const keep = Math.exp(-passed / (5000 + this.#watched / 3));
    this.#watched += passed;
    this.#speed = keep * this.#speed + (1 - keep) * ((current - last.current) / passed);
    this.#weight = keep * this.#weight + (1 - keep);
  }

  /** Milliseconds until `missing` more are done; null while there is too little to say. */
  left(missing) {
    if (this.#watched < 3000 || this.#speed <= 0) return null;
    return (missing * this.#weight) / this.#speed;
  }
}

const joined = (...texts) => texts.filter(Boolean).join(": ");

/** `12 s`, `3 min 05 s`, `2 h 10 min`. */
function inWords(ms) {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60)];
  if (hours) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${seconds} s`;
}

/** An estimate, as finely as it deserves: `12 s`, `45 s`, `3 min`, `2 h`. */
function roughly(ms) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds <= 20) return `${seconds} s`;
  if (seconds < 90) return `${Math.round(seconds / 5) * 5} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
  :host {
    --_color: var(--task-progress-color, #00695c);
    --_track: var(--task-progress-track, #dfe5e3);
    --_edge: var(--task-progress-edge, #6b7775);
    --_error: var(--task-progress-error, #b3261e);
    display: block;
    font: var(--task-progress-font, inherit);
    font-variant-numeric: tabular-nums;
  }
  @supports (color: light-dark(red, red)) {
    :host {
      --_color: var(--task-progress-color, light-dark(#00695c, #4fd1b8));
      --_track: var(--task-progress-track, light-dark(#dfe5e3, #2f3836));
      --_edge: var(--task-progress-edge, light-dark(#6b7775, #93a19d));
      --_error: var(--task-progress-error, light-dark(#b3261e, #ffb4ab));
    }
  }
  :host([hidden]), [hidden], p:empty, span:empty:not(:first-child) { display: none; }
  [part="row"] { display: flex; flex-wrap: wrap; gap: 0 1em; justify-content: space-between; }
  [part="row"] > :first-child { flex: 1 1 auto; overflow-wrap: anywhere; }
  p { margin: 0; overflow-wrap: anywhere; }
  [part="track"] {
    background: var(--_track);
    border: 1px solid var(--_edge);
    border-radius: var(--task-progress-radius, 0.375em);
    block-size: var(--task-progress-height, 0.75em);
    margin-block: 0.25em;
    overflow: hidden;
  }
  [part="bar"] { background: var(--_color); block-size: 100%; inline-size: 0; transition: inline-size 0.2s; }
  :host(:is([state="failed"], [state="timed_out"])) [part="bar"] { background: var(--_error); }
  :host([state="running"]) [part="track"]:not([aria-valuenow]) [part="bar"] {
    animation: pass 1s linear infinite;
    background: repeating-linear-gradient(90deg, var(--_color) 0 1em, var(--_track) 1em 2em) 0 0 / 2em 100%;
    inline-size: 100%;
  }
  :host([connection="lost"]) [part="bar"],
  :host([connection="given-up"]) [part="bar"] { animation-play-state: paused; }
  [part="error"] { color: var(--_error); font-weight: 600; }
  [part="again"] { font: inherit; margin-block-start: 0.25em; min-block-size: 24px; }
  [part="milestones"] { height: 1px; width: 1px; clip-path: inset(50%); overflow: hidden; position: absolute; }
  @keyframes pass { to { background-position: 2em 0; } }
  @media (prefers-reduced-motion: reduce) { [part="bar"] { animation: none !important; transition: none; } }
  @media (forced-colors: active) {
    [part="track"] { background: Canvas; border-color: CanvasText; forced-color-adjust: none; }
    [part="bar"] { --_color: Highlight; --_track: Canvas; --_error: Highlight; }
  }
`);

export class TaskProgress extends HTMLElement {
  static observedAttributes = ["socket", "href", "label"];

  /** All that it says by itself. A page in another language changes these before the first element is there. */
  static words = {
    label: "Progress",
    connecting: "Connecting …",
    pending: "Waiting to start",
    running: "Running",
    started: "Started",
    succeeded: "Done",
    failed: "Failed",
    timed_out: "Took too long",
    cancelled: "Cancelled",
    missing: "This progress is not there, or no longer.",
    forbidden: "This progress is not for you.",
    lost: "Connection lost, trying again …",
    "given-up": "There is no connection.",
    back: "Connected again.",
    again: "Try again",
    of: (current, total) => `${current} of ${total}`,
    elapsed: (ms) => inWords(ms),
    left: (ms) => `about ${roughly(ms)} left`,
    attempt: (attempt) => `attempt ${attempt}`,
  };

  frame = null; // the newest
  #line = null;
  #here = null; // while it is in the document: what ends its listeners
  #refusal = "";
  #link = "connecting";
  #pace = new Pace();
  #since = null; // when the work began, by `performance.now()`; null if nobody knows
  #ticking = 0;
  #told = -1; // the last quarter that was announced; -1 before the start was
  #toldBroken = false;
  #parts = {};

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [STYLE];
    const track = this.#made("div", "track", this.#made("div", "bar"));
    const rows = [["label", "percent"], ["text", "count", "attempt"], ["elapsed", "remaining"]].map((names) => {
      return this.#made("div", "row", ...names.map((name) => this.#made("span", name)));
    });
    const last = [this.#made("p", "notice"), this.#made("p", "error"), this.#made("button", "again")];
    root.append(this.#made("div", "box", rows[0], track, ...rows.slice(1), ...last), this.#made("span", "milestones"));
    this.#parts.box.setAttribute("role", "group");
    track.setAttribute("role", "progressbar");
    this.#parts.error.setAttribute("role", "alert");
    this.#parts.milestones.setAttribute("role", "status");
    Object.assign(this.#parts.again, { type: "button", hidden: true, onclick: () => this.#tryAgain() });
  }

  #made(tag, part, ...children) {
    const element = (this.#parts[part] = document.createElement(tag));
    element.part = part;
    element.append(...children);
    return element;
  }

  // -- its life in a document ----------------------------------------------------------------------------------

  connectedCallback() {
    const { signal } = (this.#here = new AbortController());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry(), { signal });
    window.addEventListener("online", () => this.#hurry(true), { signal }); // the old socket may be dead, unnoticed
    if (String(this.#urls) === String([this.#line?.socket, this.#line?.twin])) this.#open();
    else this.#begin();
  }

  disconnectedCallback() {
    this.#here.abort();
    this.#here = null;
    this.#stop();
  }

  connectedMoveCallback() {} // `moveBefore()` takes it elsewhere, and all goes on

  attributeChangedCallback(name, before, now) {
    if (!this.#here || before === now) return;
    if (name === "label") return this.#show();
    const line = this.#line;
    queueMicrotask(() => this.#here && this.#line === line && this.#begin()); // two new URLs are one change
  }

  /** Another piece of work: nothing is known of it yet but what the server has rendered. */
  #begin() {
    this.#stop();
    const elapsed = parseFloat(this.getAttribute("elapsed"));
    this.#since = Number.isNaN(elapsed) ? null : performance.now() - elapsed;
    [this.frame, this.#refusal, this.#told, this.#pace] = [null, "", -1, new Pace()];
    this.#parts.count.replaceChildren(document.createElement("slot"));
    this.#put("milestones", "");
    this.#line = new Line(...this.#urls, {
      frame: (frame) => this.#take(frame),
      link: (link) => this.#linked(link),
      refused: (state) => this.#refused(state),
    });
    this.#open();
  }

  get #urls() {
    const [socket, twin] = [this.getAttribute("socket"), this.getAttribute("href")].map((given) => {
      return given === null ? "" : new URL(given, document.baseURI).href;
    });
    return [socket.replace(/^http/, "ws"), twin];
  }

  #open() {
    this.#show();
    if (this.#ended || !this.hasAttribute("socket")) return;
    this.#ticking = setInterval(() => this.#tick(), 1000);
    this.#line.open();
  }

  #stop() {
    clearInterval(this.#ticking);
    this.#line?.close();
    this.#link = "connecting";
    this.#toldBroken = false;
  }

  get #ended() {
    return this.#refusal !== "" || OVER.includes(this.frame?.state);
  }

  #hurry(anew) {
    if (!this.#ended && this.hasAttribute("socket")) this.#line.hurry(anew);
  }

  // -- what it hears -------------------------------------------------------------------------------------------

  #take(frame) {
    const before = this.frame;
    if (before && frame.version <= before.version) return false;
    this.frame = frame;
    if (!before) this.#parts.count.replaceChildren();
    if (frame.state === "pending") this.#since ??= performance.now();
    if (before?.attempt !== frame.attempt) this.#pace = new Pace();
    if (frame.state === "running" && before?.state !== "running") this.#tick();
    if (this.#ended) this.#stop();
    this.#show();
    this.#tellMilestone(frame.state);
    this.#dispatchAll(frame);
    return true;
  }

  #dispatchAll(frame) {
    const names = ["progress"];
    if (this.#ended) names.push(frame.state === "succeeded" ? "done" : "failed");
    // A page that was rendered when all was over has nothing to reload, and doing so would never end.
    const trigger = this.hasAttribute("over") ? "" : this.getAttribute("trigger");
    if (this.#ended && trigger) names.push(trigger);
    for (const name of names) {
      this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail: frame }));
    }
  }

  #linked(link) {
    const [before, { words }] = [this.#link, TaskProgress];
    if (this.#ended || (link === before && link === "live")) return;
    this.#link = link;
    const telling = link === "given-up" || (link === "lost" && this.frame !== null); // who never came cannot be lost
    if (telling && link !== before) this.#say(words[link]);
    if (!telling && this.#toldBroken) this.#say(words.back);
    this.#toldBroken = telling;
    this.#show();
  }

  #refused(state) {
    this.#refusal = state;
    this.#parts.count.replaceChildren();
    this.#stop();
    this.#show();
  }

  #tryAgain() {
    this.#put("notice", TaskProgress.words.connecting);
    this.#line.hurry(true);
  }

  /** Once a second: the times go on, and the pace is measured. */
  #tick() {
    if (this.frame?.state !== "running") return;
    this.#pace.add(performance.now(), BROKEN.includes(this.#link) ? null : (this.frame.current ?? 0));
    this.#showTimes();
  }

  // -- what is seen and heard of it ----------------------------------------------------------------------------

  /** How much is done, of how much; null if that is not known. */
  get #value() {
    const { state, current, total } = this.frame ?? {};
    if (!(total > 0)) return state === "succeeded" ? [1, 1] : null;
    return [state === "succeeded" ? total : Math.min(Math.max(current ?? 0, 0), total), total];
  }

  #show() {
    const state = this.#refusal || (this.frame?.state ?? "connecting");
    this.setAttribute("state", state);
    this.setAttribute("connection", this.#ended ? "closed" : this.#link);
    this.#showWords(state, this.frame ?? {}, TaskProgress.words);
    this.#showBar(TaskProgress.words);
    this.#showTimes();
    this.#showButton();
  }

  #showWords(state, { text, error, attempt }, words) {
    const broken = BROKEN.includes(this.#link);
    const alerting = ["failed", "timed_out", "missing", "forbidden"].includes(state);
    const step = state === "running" ? text || words.running : joined(!alerting && words[state], text);
    this.#put("label", this.getAttribute("label"));
    this.#put("text", broken && !this.frame ? "" : step);
    this.#put("attempt", attempt > 1 ? words.attempt(attempt) : "");
    this.#put("error", joined(alerting && words[state], error));
    this.#put("notice", broken ? words[this.#link] : "");
  }

  #showBar(words) {
    const { box, track, bar, count, text } = this.#parts;
    const [now, max] = this.#value ?? [null, null];
    const percent = max && `${Math.floor((100 * now) / max + 1e-9)} %`;
    if (this.frame) this.#put("count", this.frame.total > 0 ? words.of(now, max) : this.frame.current || "");
    this.#put("percent", percent);
    bar.style.inlineSize = percent?.replace(" ", "") ?? "";
    box.ariaLabel = track.ariaLabel = this.getAttribute("label") || words.label;
    [track.ariaValueMin, track.ariaValueNow, track.ariaValueMax] = [max && 0, now, max];
    track.ariaValueText = [count.textContent, percent, text.textContent].filter(Boolean).join(", ");
  }

  #showTimes() {
    const { words } = TaskProgress;
    const [now, max] = this.#value ?? [];
    const running = this.frame?.state === "running";
    const left = running && max && !BROKEN.includes(this.#link) ? this.#pace.left(max - now) : null;
    const elapsed = running && this.#since !== null ? words.elapsed(performance.now() - this.#since) : "";
    if (!this.#ended) this.#put("elapsed", elapsed);
    this.#put("remaining", left === null ? "" : words.left(left));
  }

  #showButton() {
    const { again, box } = this.#parts;
    const hidden = this.#link !== "given-up";
    if (hidden && this.shadowRoot.activeElement === again) {
      box.tabIndex = -1; // who pressed it stays where it was
      box.focus();
    }
    again.hidden = hidden;
    this.#put("again", TaskProgress.words.again);
  }

  /** Steps on the way, not every frame: a screen reader speaks them when it is idle. */
  #tellMilestone(state) {
    const { words } = TaskProgress;
    const [now, max] = this.#value ?? [0, 1];
    const quarter = Math.floor((4 * now) / max + 1e-9);
    if (state === "succeeded" || state === "cancelled") this.#say(words[state]);
    if (state !== "running" || quarter <= this.#told) return;
    if (quarter < 4) this.#say(quarter ? `${quarter * 25} %` : words.started);
    this.#told = quarter;
  }

  #say(text) {
    this.#put("milestones", joined(this.getAttribute("label"), text));
  }

  #put(part, text) {
    const element = this.#parts[part];
    const words = String(text ?? "");
    if (element.textContent !== words) element.textContent = words; // an alert speaks at each change
  }
}

// A page may load this module twice, by two URLs.
if (!customElements.get("task-progress")) customElements.define("task-progress", TaskProgress);
