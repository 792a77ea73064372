// The page: what is asked for, and a row for each answer.

import { overHttp, overWebSocket } from "./asking.js";
import { Pulse } from "./pulse.js";

const NAMES = {
  request: "Ask the address",
  call: "Count the words",
  command: "Sort the words",
  here: "Count in the web worker itself",
};
const [form, list, empty, announcer] = ["asking", "answers", "empty", "announcer"].map((id) =>
  document.getElementById(id),
);
const pulse = new Pulse(document.getElementById("pulse"), document.getElementById("pulse-words"));

async function ask(event) {
  event.preventDefault();
  const what = event.submitter.value;
  const values = new FormData(form);
  const text = values.get(what === "request" ? "url" : "words");
  const overSocket = what !== "here" && values.get("way") === "websocket";
  const row = add(`${NAMES[what]}, over ${overSocket ? "a WebSocket" : "HTTP"}`);
  const [started, mark] = [performance.now(), pulse.mark()];
  const { answer, error } = await (overSocket ? overWebSocket : overHttp)(what, text);
  const took = ((performance.now() - started) / 1000).toFixed(1);
  finish(row, error ?? answer, error === undefined ? "done" : "failed", `After ${took} s. ${pulse.since(mark)}`);
}

function add(name) {
  const row = document.getElementById("answer").content.firstElementChild.cloneNode(true);
  row.dataset.state = "waits";
  row.querySelector(".name").textContent = name;
  row.querySelector(".text").textContent = "…";
  list.prepend(row);
  empty.hidden = true;
  return row;
}

function finish(row, text, state, meanwhile) {
  row.dataset.state = state;
  row.querySelector(".text").textContent = text;
  row.querySelector(".meanwhile").textContent = meanwhile;
  announcer.textContent = `${row.querySelector(".name").textContent}: ${text}`;
}

form.addEventListener("submit", ask);
pulse.start();
