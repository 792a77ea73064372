// The page: three buttons, and the runs they start.

import { Run } from "./run.js";

const NAMES = [
  "Close to the Due",
  "Selling asgi by the Pound",
  "In the Court of the Cron King",
  "Larks' Tongues in Async",
  "Thick as a Queue",
  "Wish You Were Here (in 200 ms)",
  "Tales from Topographic Sockets",
  "The Lamb Lies Down on Broadcast",
  "A Passion Relay",
  "Brain Salad Scheduling",
  "Careful with That ack, Eugene",
  "Atom Heart Mutex",
];

const [startOne, startThree, clear, list, empty, announcer] = [
  "start",
  "start-three",
  "clear",
  "runs",
  "empty",
  "announcer",
].map((id) => document.getElementById(id));
let runs = [];
let number = 0;

function start() {
  const run = new Run(number, NAMES[number % NAMES.length], ended);
  number += 1;
  runs.push(run);
  list.prepend(run.card);
  announcer.textContent = `${run.name} is playing.`;
  refresh();
}

function ended(run) {
  announcer.textContent = `${run.name}: ${run.sentence}`;
  refresh();
}

function clearFinished() {
  for (const run of runs.filter((run) => run.ended)) run.card.remove();
  runs = runs.filter((run) => !run.ended);
  startOne.focus();
  refresh();
}

function refresh() {
  empty.hidden = runs.length > 0;
  clear.disabled = !runs.some((run) => run.ended);
}

startOne.addEventListener("click", start);
startThree.addEventListener("click", () => [1, 2, 3].forEach(start));
clear.addEventListener("click", clearFinished);
