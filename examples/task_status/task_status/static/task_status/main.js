// The page: a form that starts tasks, and a row for each.

const WORDS = {
  pending: "PENDING",
  running: "STARTED",
  succeeded: "SUCCESS",
  failed: "FAILURE",
  timed_out: "FAILURE",
  cancelled: "REVOKED",
};
const [form, list, empty, trouble] = ["starting", "tasks", "empty", "trouble"].map((id) => document.getElementById(id));
let starting = false;

async function start(event) {
  event.preventDefault();
  if (starting) return; // a second click, before the first is answered
  starting = true;
  const values = new FormData(form);
  const answer = await fetch(form.action, { method: "POST", body: values }).catch(() => null);
  const isJson = answer?.headers.get("Content-Type") === "application/json";
  const { task_id: id, errors, error } = isJson ? await answer.json() : {};
  starting = false;
  if (id) add(id, `${values.get("seconds")} s on ${values.get("worker")}`);
  trouble.textContent = id ? "" : said(errors) || error || `The server answered ${answer?.status ?? "nothing"}: reload the page.`;
  form.elements.seconds.ariaInvalid = Boolean(errors?.seconds);
  if (errors?.seconds) form.elements.seconds.focus();
}

const said = (errors) => Object.values(errors ?? {}).join(" ");

function add(id, name) {
  const row = document.importNode(document.getElementById("task").content, true).firstElementChild;
  const bar = row.querySelector("task-progress");
  row.querySelector(".name").textContent = name;
  bar.setAttribute("label", name);
  bar.setAttribute("socket", `/ws/task_status/${id}/`);
  bar.setAttribute("href", `/task_status/${id}/`); // where no socket can be had
  bar.addEventListener("progress", ({ detail }) => hear(row, detail));
  say(row, "pending"); // the server has answered, so it is
  list.prepend(row);
  empty.hidden = true;
}

function hear(row, { state, result }) {
  say(row, state);
  row.querySelector(".result").textContent = result ?? "";
}

function say(row, state) {
  const words = row.querySelector(".words");
  if (row.dataset.state === state) return;
  row.dataset.state = state;
  const word = document.createElement("li");
  word.dataset.state = state;
  word.textContent = WORDS[state];
  words.append(word);
}

form.addEventListener("submit", start);
