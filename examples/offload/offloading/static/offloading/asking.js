// Two ways to ask; each resolves to {answer} or {error}.

const URLS = {
  request: (text) => `/proxy/?url=${encodeURIComponent(text)}`,
  call: (text) => `/count/?text=${encodeURIComponent(text)}`,
  command: (text) => `/sort/?text=${encodeURIComponent(text)}`,
  here: (text) => `/count-here/?text=${encodeURIComponent(text)}`,
};

export async function overHttp(what, text) {
  try {
    const reply = await fetch(URLS[what](text));
    if (reply.headers.get("Content-Type") === "application/json") return await reply.json();
    const words = `${reply.status}: ${await reply.text()}`;
    return reply.ok ? { answer: words } : { error: words };
  } catch {
    return { error: "The server did not answer." };
  }
}

const waiting = new Map(); // number -> what to call with its answer
let socket;
let last = 0;

export function overWebSocket(what, text) {
  last += 1;
  const asked = JSON.stringify({ number: last, what, text });
  const answered = new Promise((resolve) => waiting.set(last, resolve));
  open().then((opened) => opened.send(asked));
  return answered;
}

function open() {
  socket ??= new Promise((resolve) => {
    const { protocol, host } = window.location;
    const opening = new WebSocket(`${protocol === "https:" ? "wss" : "ws"}://${host}/ws/answers/`);
    opening.onopen = () => resolve(opening);
    opening.onmessage = ({ data }) => hear(JSON.parse(data));
    opening.onclose = giveUp;
  });
  return socket;
}

function hear({ number, ...answer }) {
  waiting.get(number)?.(answer);
  waiting.delete(number);
}

function giveUp() {
  socket = undefined; // the next question opens another
  for (const resolve of waiting.values()) resolve({ error: "The connection closed before the answer came." });
  waiting.clear();
}
