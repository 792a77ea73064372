// The second tab: a button, and what the server renders for it.

const [button, runs, empty, announcer] = ["start", "runs", "empty", "announcer"].map((id) => document.getElementById(id));
let number = 0;

button.addEventListener("click", async () => {
  const answer = await fetch("/poller/start/", { method: "POST", body: new URLSearchParams({ number: number++ }) });
  empty.hidden = answer.ok;
  if (answer.ok) runs.insertAdjacentHTML("afterbegin", await answer.text());
  else announcer.textContent = "It could not be started.";
});
button.disabled = false; // from now on it does something
