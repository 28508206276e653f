// Starts the page: sign-in, the event stream, and which view is shown.

import { events as follow, get, post, token, whenRefused } from "./api.js";
import { tell } from "./actions.js";
import { element, setText } from "./dom.js";
import { signIn } from "./sign_in.js";
import { trial } from "./trial.js";
import * as views from "./views.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 10000;

const content = document.getElementById("content");
const navigation = document.getElementById("views");
const connection = document.getElementById("connection");
const signOut = document.getElementById("sign-out");

const data = { now: Date.now() / 1000 };
let ahead = 0; // How far this machine's clock is ahead of the gateway's, in seconds.
let shown = null;
let running = null;
let asked = null; // The view for which a server was asked what it offers, in case that was not known.
let seen = 0; // The last message of the transcript that is shown.

function state(name, text) {
  connection.dataset.state = name;
  setText(connection, text);
}

// Which view

function wanted() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  switch (parts[0]) {
    case "sessions": return () => views.sessions();
    case "session": return () => views.session(parts[1] ?? "");
    case "calls": return () => views.calls();
    case "tools": return () => views.tools();
    case "events": return () => views.events();
    case "server": return () => views.server(parts[1] ?? "");
    case "try": return () => trial(parts[1] ?? "", parts[2] ?? "");
    default: return () => views.servers();
  }
}

const ABOVE = { session: "sessions", server: "servers", try: "servers" };

function show({ focus }) {
  const first = location.hash.replace(/^#\/?/, "").split("/")[0] || "servers";
  for (const link of navigation.children) {
    const isHere = link.hash === `#/${ABOVE[first] ?? first}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  shown = wanted()();
  seen = 0;
  content.replaceChildren(shown.node);
  document.title = `${shown.heading.textContent} · Jackfield gateway`;
  update();
  more();
  if (focus) shown.heading.focus();
}

function update() {
  data.now = Date.now() / 1000 - ahead;
  shown?.update(data);
}

/** What only this view needs, and is not in the event stream. */
async function more() {
  const wants = shown?.wants?.();
  if (!wants || !token.get()) return;
  const asking = shown;
  try {
    if (wants.tools !== undefined) {
      const ask = asked === shown ? "" : "&ask=1";
      asked = shown;
      const said = await get(`tools?server=${encodeURIComponent(wants.tools)}${ask}`);
      data.toolsOf = { [wants.tools]: said.tools };
    }
    if (wants.transcript !== undefined) {
      const said = await get(`transcript?id=${encodeURIComponent(wants.transcript)}&after=${seen}`);
      if (asking !== shown) return;
      seen = said.last;
      shown.transcript(said.messages);
    }
  } catch {
    // It is asked for again with the next change.
  }
  if (asking === shown) update();
}

// The event stream

async function run() {
  running?.abort();
  const mine = (running = new AbortController());
  let pause = FIRST_PAUSE;
  state("waiting", "Connecting…");
  while (!mine.signal.aborted && token.get()) {
    try {
      await follow((message) => {
        pause = FIRST_PAUSE;
        state("live", "Live");
        take(message);
      }, mine.signal);
    } catch (error) {
      if (mine.signal.aborted || !token.get()) return;
    }
    state("waiting", "Reconnecting…");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

function take(message) {
  if (message.now) ahead = Date.now() / 1000 - message.now;
  Object.assign(data, message.changed ?? {});
  update();
  if (shown?.wants) more();
}

// Sign-in

function signedOut(reason) {
  token.forget();
  running?.abort();
  navigation.hidden = signOut.hidden = true;
  state("off", "");
  shown = null;
  signIn(content, reason, begin);
}

function begin() {
  navigation.hidden = signOut.hidden = false;
  show({ focus: false });
  run();
}

whenRefused((reason) => signedOut(reason));
signOut.addEventListener("click", async () => {
  try {
    await post("sign-out");
  } catch {
    // The token is forgotten here in any case.
  }
  signedOut();
});
addEventListener("hashchange", () => {
  if (token.get()) show({ focus: true });
});
document.querySelector(".skip").addEventListener("click", (event) => {
  // What stands behind the # is the view.
  event.preventDefault();
  content.focus();
});
setInterval(() => {
  if (token.get() && !document.hidden) update();
}, 1000);

const given = new URLSearchParams(location.hash.slice(1));
const code = given.get("code");
if (code !== null) {
  // It is valid once: not to be kept in the history.
  history.replaceState(null, "", `${location.pathname}#/servers`);
  try {
    token.set((await post("sign-in", { code, nonce: sessionStorage.getItem("jackfield.nonce") ?? "" })).token);
    begin();
  } catch (error) {
    if (token.get()) begin();
    else signedOut(error.message);
    tell(error.message, true);
  }
} else if (given.has("failed")) {
  history.replaceState(null, "", `${location.pathname}#/servers`);
  signedOut(given.get("failed"));
} else if (token.get()) begin();
else signedOut();
