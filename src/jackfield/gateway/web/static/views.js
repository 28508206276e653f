// The views of the page. Each is built once, and updated in place with what the gateway tells.

import { ask, act } from "./actions.js";
import { badge, button, clock, element, facts, milliseconds, name, number, plural, readable, setText, span, table } from "./dom.js";
import { plot } from "./plot.js";

const link = (href, text) => element("a", { href }, name(text));
const path = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

/** A view with a heading, and what it is made of. */
function view(title, ...children) {
  const heading = element("h2", { tabindex: -1 }, title);
  return { node: element("section", { class: "view" }, heading, ...children), heading };
}

function figures() {
  const parts = new Map();
  const node = element("ul", { class: "figures", "aria-label": "At a glance" });
  return {
    node,
    update(pairs) {
      for (const [title, value, note] of pairs) {
        if (!parts.has(title)) {
          const part = element("li", {}, element("span", { class: "title" }, title), element("strong"), element("span", { class: "note" }));
          parts.set(title, part);
          node.append(part);
        }
        const part = parts.get(title);
        setText(part.children[1], value);
        setText(part.children[2], note ?? "");
      }
    },
  };
}

// Servers

export function servers() {
  const glance = figures();
  const list = table(
    "Servers",
    [
      { title: "Server", node: (row) => link(path("server", row.name), row.name), stamp: (row) => row.name },
      { title: "State", node: (row) => stateOf(row), stamp: (row) => [row.state, row.why] },
      { title: "Since", text: (row) => (row.since ? span(row.now - row.since) : ""), numeric: true },
      { title: "Sessions", text: (row) => number(row.sessions), numeric: true },
      { title: "Calls", text: (row) => number(row.calls), numeric: true },
      { title: "Errors", text: (row) => (row.errors ? number(row.errors) : ""), numeric: true },
      { title: "p50", text: (row) => milliseconds(row.p50), numeric: true },
      { title: "p95", text: (row) => milliseconds(row.p95), numeric: true },
      { title: "Tools", text: (row) => (row.tools === null ? "unknown" : number(row.tools)), numeric: true },
      { title: "Tokens", text: (row) => number(row.eager), numeric: true },
    ],
    { empty: "No server is configured." },
  );
  const made = view("Servers", glance.node, list.node);
  return {
    ...made,
    update(data) {
      const { servers: rows = [], gateway = {}, calls = {}, now } = data;
      const broken = rows.filter((row) => row.state === "broken").length;
      const tokens = gateway.tokens ?? {};
      const kept = (data.background?.sessions ?? []).length;
      glance.update([
        ["Servers", number(rows.length), broken ? `${number(broken)} broken` : "none broken"],
        ["Sessions", number((data.sessions ?? []).length), kept ? `and ${number(kept)} kept between commands` : ""],
        ["Under way", number((calls.live ?? []).length), plural(gateway.calls ?? 0, "call") + " in all"],
        ["Errors", number(gateway.errors ?? 0), gateway.calls ? `${((100 * gateway.errors) / gateway.calls).toFixed(1)} % of calls` : ""],
        ["Tokens", number(tokens.routed), tokens.eager === undefined ? "" : `with two tools; ${number(tokens.eager)} with all`],
      ]);
      list.update(rows.map((row) => ({ ...row, key: row.name, now })));
    },
  };
}

function stateOf(row) {
  return element("span", {}, badge(row.state), row.why ? element("span", { class: "why" }, readable(row.why, 120)) : null);
}

export function server(serverName) {
  const about = facts("Server");
  const stderr = element("pre", { class: "code", tabindex: 0, "aria-label": "Last output on stderr" });
  const output = element("div", {}, element("h3", {}, "Last output on stderr"), stderr);
  const disable = button("", () => disableOrEnable(), { class: "danger" });
  let row = {};
  const actions = element(
    "div",
    { class: "actions" },
    button("Refresh", () => ask({
      title: `Refresh ${readable(serverName)}?`,
      text: "Its tools, resources and prompts are listed again, in a separate session.",
      verb: "Refresh",
      act: () => act("refresh", { server: serverName }, (said) => `${serverName}: ${plural(said.tools, "tool")}.`),
    })),
    button("Restart", () => ask({
      title: `Restart ${readable(serverName)}?`,
      text: `${plural(row.sessions ?? 0, "session")} will be closed and reopened; the server's state for them is lost, and ${plural(row.live ?? 0, "running call")} may fail.`,
      verb: "Restart",
      act: () => act("restart", { server: serverName }, (said) => `${serverName}: ${plural(said.restarted, "session")} restarted.`),
    })),
    button("Close sessions", () => ask({
      title: `Close all sessions of ${readable(serverName)}?`,
      text: `${plural(row.sessions ?? 0, "session")} will be closed; ${plural(row.live ?? 0, "running call")} will fail. The next call opens a new session.`,
      verb: "Close",
      act: () => act("close", { server: serverName }, (said) => `${serverName}: ${plural(said.closed, "session")} closed.`),
    })),
    disable,
  );
  function disableOrEnable() {
    if (row.state === "disabled") {
      act("enable", { server: serverName }, () => `${serverName} is enabled.`);
      return;
    }
    ask({
      title: `Disable ${readable(serverName)}?`,
      text: "Its tools disappear from all listings, calls of them are refused, and its sessions are closed, until it is enabled or the gateway restarts.",
      verb: "Disable",
      act: () => act("disable", { server: serverName }, () => `${serverName} is disabled.`),
    });
  }
  const tools = table(
    "Tools",
    [
      { title: "Tool", node: (one) => link(path("try", serverName, one.name), one.name), stamp: (one) => one.name },
      { title: "Description", text: (one) => readable(one.description, 160), wide: true },
      { title: "Tokens", text: (one) => number(one.tokens), numeric: true },
    ],
    { empty: "Its tools are not known yet." },
  );
  const made = view("", about.node, actions, output, element("h3", {}, "Tools"), tools.node);
  made.heading.append("Server ", name(serverName));
  return {
    ...made,
    wants: () => ({ tools: serverName }),
    update(data) {
      const found = (data.servers ?? []).find((one) => one.name === serverName);
      actions.hidden = !found;
      if (!found) {
        about.update([["State", "There is no server with this name."]]);
        output.hidden = true;
        return;
      }
      row = found;
      about.update([
        ["State", row.state],
        ["Since", row.since ? `${span(data.now - row.since)} ago` : ""],
        ["Why", row.why],
        ["Transport", row.transport],
        ["Address", row.address],
        ["Sessions", number(row.sessions)],
        ["Calls", `${number(row.calls)}, ${number(row.errors)} failed`],
        ["Duration in the last hour", row.p50 === null ? "" : `p50 ${milliseconds(row.p50)}, p95 ${milliseconds(row.p95)}`],
        ["Tokens in a prompt", row.tools === null ? "" : `${number(row.eager)} with all tools, ${number(row.routed)} with find_tools and call_tool`],
        ["Next attempt", row.next_attempt ? `in ${span(row.next_attempt - data.now)}` : ""],
      ]);
      setText(disable, row.state === "disabled" ? "Enable" : "Disable");
      output.hidden = !row.stderr;
      setText(stderr, readable(row.stderr, 8000));
      tools.update((data.toolsOf?.[serverName] ?? []).map((one) => ({ ...one, key: one.name })));
    },
  };
}

// Sessions

const AGE = { title: "Age", text: (row) => span(row.opened_at ? row.now - row.opened_at : null), numeric: true };

export function sessions() {
  const list = table(
    "Sessions with servers",
    [
      { title: "Server", node: (row) => link(path("session", row.id), row.server), stamp: (row) => [row.id, row.server] },
      { title: "User", node: (row) => (row.user ? name(row.user) : null), stamp: (row) => row.user },
      { title: "Client", node: (row) => (row.client ? name(row.client) : null), stamp: (row) => row.client },
      { title: "State", node: (row) => badge(row.state), stamp: (row) => row.state },
      AGE,
      { title: "Unused", text: (row) => (row.in_flight ? "" : span(row.now - row.last_used_at)), numeric: true },
      { title: "Calls", text: (row) => number(row.calls), numeric: true },
      { title: "Errors", text: (row) => (row.errors ? number(row.errors) : ""), numeric: true },
      { title: "PID", text: (row) => (row.pid === null ? "" : String(row.pid)), numeric: true },
      { title: "Close", hidden: true, node: (row) => closing(row), stamp: (row) => row.id },
    ],
    { empty: "No session is open: a server is opened by the first call that needs it." },
  );
  const kept = table(
    "Sessions kept by the background process",
    [
      { title: "Server", node: (row) => name(row.server), stamp: (row) => row.server },
      { title: "Key", node: (row) => name(row.sessionKey), stamp: (row) => row.sessionKey },
      { title: "State", node: (row) => badge(row.state), stamp: (row) => row.state },
      { title: "Age", text: (row) => span(row.age), numeric: true },
      { title: "Unused", text: (row) => (row.state === "busy" ? "" : span(row.idle)), numeric: true },
      { title: "Calls", text: (row) => number(row.calls), numeric: true },
      { title: "PID", text: (row) => (row.pid === null ? "" : String(row.pid)), numeric: true },
      { title: "Close", hidden: true, node: (row) => closingKept(row), stamp: (row) => row.key },
    ],
    { empty: "None. jackfield open SERVER keeps one between commands." },
  );
  const note = element("p", { class: "quiet" });
  const background = element("div", {}, element("h3", {}, "Kept between commands"), note, kept.node);
  const hosts = table(
    "Clients",
    [
      { title: "Client", node: (row) => name(row.client || "unnamed"), stamp: (row) => row.client },
      { title: "User", node: (row) => (row.user ? name(row.user) : null), stamp: (row) => row.user },
      { title: "Protocol", text: (row) => readable(row.protocol, 30) },
      { title: "Sessions", text: (row) => number(row.sessions), numeric: true },
    ],
    { empty: "No client is connected." },
  );
  const made = view("Sessions", list.node, element("h3", {}, "Clients"), hosts.node, background);
  return {
    ...made,
    update(data) {
      list.update((data.sessions ?? []).map((row) => ({ ...row, key: row.id, now: data.now })));
      hosts.update(data.clients ?? []);
      background.hidden = !data.background;
      const found = data.background?.process;
      setText(note, found ? `By the background process ${found.pid}, jackfield ${readable(found.version, 40)}.` : "No background process is running.");
      kept.update((data.background?.sessions ?? []).map((row) => ({ ...row, sessionKey: row.key, key: `${row.server} ${row.key} ${row.pid}` })));
    },
  };
}

function closing(row) {
  return button("Close", () => ask({
    title: `Close this session with ${readable(row.server)}?`,
    text: "The server's state for it is lost, and its running calls fail. The client's next call opens a new one.",
    verb: "Close",
    act: () => act("close", { server: row.server, key: row.session }, (said) => `${plural(said.closed, "session")} closed.`),
  }), { class: "plain", "aria-label": `Close the session with ${readable(row.server)}` });
}

function closingKept(row) {
  return button("Close", () => ask({
    title: `Close the kept session with ${readable(row.server)}?`,
    text: "The server's state for it is lost.",
    verb: "Close",
    act: () => act("close-kept", { server: row.server, key: row.sessionKey }, (said) => `${plural(said.closed, "session")} closed.`),
  }), { class: "plain", "aria-label": `Close the kept session with ${readable(row.server)}` });
}

export function session(id) {
  const about = facts("Session");
  const trace = element("div", { class: "trace" });
  const record = button("", () => act("transcript", { id, on: !isOn }, () => (isOn ? "The transcript is off." : "The transcript is on.")));
  const restart = button("Restart", () => ask({
    title: "Restart this session?",
    text: "It is closed and opened again. The server's state for it is lost, and its running calls may fail.",
    verb: "Restart",
    act: () => act("restart", { server: row.server, key: row.session }, () => "The session is restarted."),
  }));
  const close = button("Close", () => ask({
    title: "Close this session?",
    text: "The server's state for it is lost, and its running calls fail.",
    verb: "Close",
    act: () => act("close", { server: row.server, key: row.session }, () => "The session is closed."),
  }), { class: "danger" });
  const actions = element("div", { class: "actions" }, record, restart, close);
  const hint = element("p", { class: "quiet" }, "Off. When on, it shows the latest 200 messages between the gateway and the server, with secrets masked.");
  let isOn = false;
  let row = {};
  const made = view("", about.node, actions, element("h3", {}, "Transcript"), hint, trace);
  made.heading.append("Session");
  return {
    ...made,
    wants: () => ({ transcript: id }),
    update(data) {
      const found = (data.sessions ?? []).find((one) => one.id === id);
      actions.hidden = !found;
      if (!found) {
        about.update([["State", "closed"]]);
        return;
      }
      row = found;
      isOn = row.transcript;
      setText(record, isOn ? "Stop the transcript" : "Start the transcript");
      hint.hidden = isOn;
      trace.hidden = !isOn;
      about.update([
        ["Server", row.server],
        ["User", row.user],
        ["Client", row.client],
        ["State", row.state],
        ["Age", span(row.opened_at ? data.now - row.opened_at : null)],
        ["Protocol", row.protocol],
        ["Opened", row.generation > 1 ? `${number(row.generation)} times: it was lost and recovered` : "once"],
        ["Calls", `${number(row.calls)}, ${number(row.errors)} failed`],
        ["Process", row.pid],
      ]);
    },
    transcript(messages) {
      for (const message of messages) trace.append(traced(message));
      while (trace.childElementCount > 200) trace.firstElementChild.remove();
    },
  };
}

function traced(message) {
  const arrow = message.sent ? "to the server" : "from the server";
  return element(
    "details",
    { class: message.sent ? "sent" : "came" },
    element("summary", {},
      element("span", { class: "time" }, clock(message.at)),
      element("span", { class: "arrow", "aria-hidden": true }, message.sent ? "→" : "←"),
      element("span", { class: "unseen" }, arrow),
      element("code", {}, readable(message.title, 120)),
    ),
    element("pre", { class: "code", tabindex: 0, "aria-label": "Message" }, readable(JSON.stringify(message.message, null, 2), 20000)),
  );
}

// Calls

const CALL = [
  { title: "Time", text: (row) => clock(row.at), numeric: true },
  { title: "Server", node: (row) => link(path("server", row.server), row.server), stamp: (row) => row.server },
  { title: "Tool", node: (row) => name(row.name), stamp: (row) => row.name },
  { title: "User", node: (row) => (row.user ? name(row.user) : null), stamp: (row) => row.user },
  { title: "Client", node: (row) => (row.client ? name(row.client) : null), stamp: (row) => row.client },
];

export function calls() {
  const live = table(
    "Running calls",
    [...CALL, { title: "Takes", text: (row) => milliseconds((row.now - row.at) * 1000), numeric: true }],
    { empty: "No call is running." },
  );
  const done = table(
    "Completed calls",
    [
      ...CALL,
      { title: "Took", text: (row) => milliseconds(row.ms), numeric: true },
      { title: "Outcome", node: (row) => badge(row.outcome), stamp: (row) => row.outcome },
      { title: "Error", text: (row) => readable(row.error, 200), wide: true },
    ],
    { empty: "No call yet." },
  );
  const made = view("Calls", element("h3", {}, "Under way"), live.node, element("h3", {}, "Newest"), done.node);
  return {
    ...made,
    update(data) {
      live.update((data.calls?.live ?? []).map((row) => ({ ...row, key: row.number, now: data.now })));
      done.update((data.calls?.recent ?? []).map((row) => ({ ...row, key: row.number })));
    },
  };
}

// Tools

export function tools() {
  const large = element("figure", { class: "large", hidden: true });
  let chosen = null;
  let last = {};
  const list = table(
    "Called tools",
    [
      { title: "Tool", node: (row) => link(path("try", row.server, row.name), row.name), stamp: (row) => row.key },
      { title: "Server", node: (row) => link(path("server", row.server), row.server), stamp: (row) => row.server },
      { title: "Calls", text: (row) => number(row.calls), numeric: true },
      { title: "Errors", text: (row) => (row.errors ? number(row.errors) : ""), numeric: true },
      { title: "p50", text: (row) => milliseconds(row.p50), numeric: true },
      { title: "p95", text: (row) => milliseconds(row.p95), numeric: true },
      { title: "Last hour", node: (row) => small(row), stamp: (row) => [row.minutes, Math.floor(row.now / 60)] },
    ],
    { empty: "No tool was called yet." },
  );
  function small(row) {
    const label = `Show the last hour of ${readable(row.name)}`;
    const drawn = plot(row.minutes, row.now, { width: 120, height: 28, small: true, label });
    return button("", () => {
      chosen = row.key;
      draw();
      large.scrollIntoView({ block: "nearest" });
    }, { class: "spark", "aria-label": label }).appendChild(drawn).parentNode;
  }
  function draw() {
    const row = (last.tools ?? []).find((one) => `${one.server} ${one.name}` === chosen) ?? (last.tools ?? [])[0];
    large.hidden = !row;
    if (!row) return;
    const label = `${readable(row.name, 80)} in the last hour: p50 ${milliseconds(row.p50)}, p95 ${milliseconds(row.p95)}`;
    const stamp = JSON.stringify([row.server, row.name, row.minutes, Math.floor(last.now / 60)]);
    if (large.dataset.stamp === stamp) return;
    large.dataset.stamp = stamp;
    large.replaceChildren(
      element("figcaption", {}, name(`${row.server}.${row.name}`), element("span", { class: "key p50" }, "p50"), element("span", { class: "key p95" }, "p95"), element("span", { class: "key failed" }, "minutes with errors")),
      plot(row.minutes, last.now, { width: 900, height: 220, label }),
    );
  }
  const made = view("Tools", large, list.node);
  return {
    ...made,
    update(data) {
      last = data;
      draw();
      list.update((data.tools ?? []).map((row) => ({ ...row, key: `${row.server} ${row.name}`, now: data.now })));
    },
  };
}

// Events

const EVENT = {
  not_opened: "not opened",
  not_recovered: "not recovered",
  limit_reached: "limit reached",
};

export function events() {
  const circuits = table(
    "Servers in cool-down",
    [
      { title: "Server", node: (row) => link(path("server", row.server), row.server), stamp: (row) => row.server },
      { title: "Failed", text: (row) => `${number(row.failures)} times`, numeric: true },
      { title: "Next attempt", text: (row) => `in ${span(row.until - row.now)}`, numeric: true },
      { title: "Last reason", text: (row) => readable(row.reason, 200), wide: true },
    ],
    { empty: "None: no server failed several times in a row." },
  );
  const list = table(
    "Losses and recoveries",
    [
      { title: "Time", text: (row) => clock(row.at), numeric: true },
      { title: "Server", node: (row) => link(path("server", row.server), row.server), stamp: (row) => row.server },
      { title: "Event", node: (row) => badge(EVENT[row.kind] ?? row.kind), stamp: (row) => row.kind },
      { title: "Text", text: (row) => readable(row.text), wide: true },
    ],
    { empty: "No session was lost." },
  );
  const instances = table(
    "Instances",
    [
      { title: "Instance", node: (row) => name(row.name), stamp: (row) => row.name },
      { title: "Address", node: (row) => (row.url ? name(row.url) : null), stamp: (row) => row.url },
      { title: "Clients", text: (row) => number(row.figures?.clients), numeric: true },
      { title: "Sessions", text: (row) => number(row.figures?.sessions), numeric: true },
      { title: "Calls", text: (row) => number(row.figures?.calls), numeric: true },
      { title: "Errors", text: (row) => number(row.figures?.errors), numeric: true },
      { title: "Running", text: (row) => number(row.figures?.live), numeric: true },
      { title: "Owns", text: (row) => plural(row.owns, "session"), numeric: true },
      { title: "With", text: (row) => Object.entries(row.servers).map(([server, count]) => `${readable(server, 60)} ${number(count)}`).join(", "), wide: true },
      { title: "Here", text: (row) => (row.here ? "this one" : "") },
    ],
    { empty: "One instance, without shared state." },
  );
  const failed = table(
    "Errors",
    [
      { title: "Time", text: (row) => clock(row.at), numeric: true },
      { title: "Server", node: (row) => link(path("server", row.server), row.server), stamp: (row) => row.server },
      { title: "Tool", node: (row) => name(row.name), stamp: (row) => row.name },
      { title: "User", node: (row) => (row.user ? name(row.user) : null), stamp: (row) => row.user },
      { title: "Outcome", node: (row) => badge(row.outcome), stamp: (row) => row.outcome },
      { title: "Error", text: (row) => readable(row.error), wide: true },
    ],
    { empty: "No call failed." },
  );
  const bounds = facts("Limits reached");
  const noBounds = element("p", { class: "empty" }, "None.");
  const made = view(
    "Events",
    element("h3", {}, "Errors"), failed.node,
    element("h3", {}, "Losses and recoveries"), list.node,
    element("h3", {}, "Servers in cool-down"), circuits.node,
    element("h3", {}, "Limits reached"), bounds.node, noBounds,
    element("h3", {}, "Instances"), instances.node,
  );
  return {
    ...made,
    update(data) {
      failed.update((data.errors ?? []).map((row) => ({ ...row, key: row.number })));
      list.update((data.incidents ?? []).map((row) => ({ ...row, key: `${row.at} ${row.server} ${row.session} ${row.kind}` })));
      circuits.update((data.circuits ?? []).map((row) => ({ ...row, key: `${row.server} ${row.session}`, now: data.now })));
      const reached = Object.entries(data.gateway?.limits ?? {});
      noBounds.hidden = reached.length > 0;
      bounds.update(reached.map(([bound, count]) => [bound, `${number(count)} times`]));
      instances.update((data.instances ?? []).map((row) => ({ ...row, key: row.name })));
    },
  };
}
