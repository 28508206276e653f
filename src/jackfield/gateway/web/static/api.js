// Requests to the gateway. The token is kept for this tab, and goes out in a header only: never in a URL or a cookie.

const KEPT = "jackfield.token";

let onRefused = () => {};

export const token = {
  get: () => sessionStorage.getItem(KEPT),
  set: (value) => sessionStorage.setItem(KEPT, value),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** What to do when the gateway does not know the token any more. */
export function whenRefused(action) {
  onRefused = action;
}

function headers(more = {}) {
  const known = token.get();
  return { "X-Jackfield-Page": "1", ...(known ? { Authorization: `Bearer ${known}` } : {}), ...more };
}

async function answered(response) {
  const text = await response.text();
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    said = { error: text.slice(0, 300) };
  }
  if (response.ok) return said;
  if (response.status === 401) onRefused(said.error);
  throw new Error(said.error ?? `The gateway answered HTTP ${response.status}.`);
}

export async function get(path) {
  return answered(await fetch(`page/${path}`, { headers: headers(), cache: "no-store" }));
}

export async function post(path, body = {}) {
  const sent = { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) };
  return answered(await fetch(`page/${path}`, sent));
}

/** Calls `onData` with each message of the event stream until it ends; throws if it broke or was refused. */
export async function events(onData, signal) {
  const response = await fetch("page/events", { headers: headers(), cache: "no-store", signal });
  if (!response.ok) await answered(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) onData(JSON.parse(data.join("\n")));
    }
  }
}

// The page as an MCP client of the gateway: limits, approval and audit hold for what is tried here, too.

const VERSION = "2026-07-28";
const PREFIX = "io.modelcontextprotocol/";
let requests = 0;

/** Makes a request of MCP; returns its result, or throws its error. */
export async function mcp(endpoint, method, params) {
  const meta = {
    [`${PREFIX}protocolVersion`]: VERSION,
    [`${PREFIX}clientInfo`]: { name: "jackfield-page", version: "1" },
    [`${PREFIX}clientCapabilities`]: { elicitation: { form: {} } },
  };
  const response = await fetch(endpoint, {
    method: "POST",
    headers: headers({
      "Content-Type": "application/json",
      Accept: "application/json, text/event-stream",
      "MCP-Protocol-Version": VERSION,
      "Mcp-Method": method,
      "Mcp-Name": encoded(params.name),
    }),
    body: JSON.stringify({ jsonrpc: "2.0", id: (requests += 1), method, params: { ...params, _meta: meta } }),
  });
  const text = await response.text();
  const isStream = (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
  const messages = isStream
    ? text.split("\n\n").flatMap((part) => part.split("\n").filter((line) => line.startsWith("data: {")))
    : [text];
  const answers = messages.map((line) => JSON.parse(line.replace(/^data: /, "")));
  const answer = answers.find((message) => "result" in message || "error" in message);
  if (!answer) throw new Error("The gateway ended the answer before there was a result.");
  if (answer.error) throw new Error(`${answer.error.message} (${answer.error.code})`);
  return answer.result;
}

// A header holds no other characters.
function encoded(value) {
  if (/^[\x21-\x7e]+$/.test(value) && !value.startsWith("=?")) return value;
  const bytes = new TextEncoder().encode(value);
  return `=?base64?${btoa(String.fromCharCode(...bytes))}?=`;
}
