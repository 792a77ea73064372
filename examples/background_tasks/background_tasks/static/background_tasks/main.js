// The page: forms that start tasks, and one WebSocket that tells what happens to them.

import { Task } from "./task.js";

const [list, empty, trouble, announcer, clear] = ["tasks", "empty", "trouble", "announcer", "clear"].map((id) =>
  document.getElementById(id),
);
const still = matchMedia("(prefers-reduced-motion: reduce)");
let tasks = new Map();

function listen() {
  const { protocol, host } = window.location;
  const socket = new WebSocket(`${protocol === "https:" ? "wss" : "ws"}://${host}/ws/happenings/`);
  socket.onopen = () => (list.dataset.listening = "");
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  socket.onclose = () => (trouble.textContent = "The connection closed. Reload the page once the server runs again.");
}

function hear(happening) {
  let task = tasks.get(happening.task);
  if (!task) {
    task = new Task(happening.name);
    tasks.set(happening.task, task);
    list.prepend(task.row);
    empty.hidden = true;
  }
  task.hear(happening);
  announcer.textContent = `${task.name}: ${task.sentence}`;
}

async function start(event) {
  event.preventDefault();
  const values = new FormData(event.target);
  const url = event.target.dataset.url.replace(/\{(\w+)\}/, (_, name) => encodeURIComponent(values.get(name)));
  const answer = await fetch(url, { method: "POST" }).catch(() => null);
  const refusal = answer?.headers.get("Content-Type") === "application/json" ? (await answer.json()).error : "";
  trouble.textContent = answer?.ok ? "" : refusal || `The server answered ${answer?.status ?? "nothing"} to ${url}.`;
}

function clearAll() {
  tasks = new Map();
  list.replaceChildren();
  empty.hidden = false;
}

// The right end of all tracks is now: one property moves every bar.
function move() {
  list.style.setProperty("--now", Date.now() / 1000);
  if (still.matches) setTimeout(move, 1000);
  else requestAnimationFrame(move);
}

for (const form of document.forms) form.addEventListener("submit", start);
clear.addEventListener("click", clearAll);
listen();
move();
