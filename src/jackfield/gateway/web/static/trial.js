// Tries a tool, by a form made of its schema. The page is an MCP client of the gateway for it.

import { get, mcp } from "./api.js";
import { badge, button, element, milliseconds, name, readable } from "./dom.js";
import { form } from "./form.js";
import { folded, result } from "./result.js";

const MOST_ROUNDS = 5;

export function trial(server, tool) {
  const heading = element("h2", { tabindex: -1 }, "Try ", name(tool), element("span", { class: "quiet" }, " of ", name(server)));
  const place = element("div", {}, element("p", { class: "quiet" }, "Loading…"));
  const shown = element("div", { class: "answer", role: "region", "aria-label": "Result", "aria-live": "polite" });
  const node = element("section", { class: "view" }, heading, place, shown);
  load(server, tool, place, shown).catch((error) => place.replaceChildren(element("p", { class: "failure" }, readable(error.message))));
  return { node, heading, update() {} };
}

async function load(server, tool, place, shown) {
  const said = await get(`tools?ask=1&server=${encodeURIComponent(server)}`);
  const found = said.tools.find((one) => one.name === tool);
  if (!found) throw new Error(said.error ?? `${server} offers no tool ${tool}.`);
  const fields = form(found.input_schema);
  const run = element("button", { type: "submit", class: "strong" }, "Call");
  const hints = Object.entries(found.annotations ?? {}).filter(([, value]) => value === true).map(([key]) => key.replace("Hint", ""));
  const asked = element(
    "form",
    { class: "trial", novalidate: true },
    found.description ? element("p", { class: "description" }, readable(found.description, 2000)) : null,
    hints.length ? element("p", {}, ...hints.map((hint) => element("span", { class: "tag" }, readable(hint, 40)))) : null,
    fields.node,
    element("div", { class: "actions" }, run),
    folded("Input schema", found.input_schema),
  );
  asked.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (run.disabled) return;
    run.disabled = true;
    await called(said, found, fields, shown);
    run.disabled = false;
  });
  place.replaceChildren(asked);
}

async function called(said, found, fields, shown) {
  let values;
  try {
    values = fields.read();
  } catch (error) {
    shown.replaceChildren(element("p", { class: "failure" }, readable(error.message)));
    return;
  }
  const params = said.all_tools
    ? { name: found.given_name, arguments: values }
    : { name: "call_tool", arguments: { tool: found.reference, arguments: values } };
  shown.replaceChildren(element("p", { class: "quiet" }, "Calling…"));
  await round(said.endpoint, found.name, params, shown, MOST_ROUNDS);
}

/** One request; where the server asks something meanwhile, its question is shown, and the request made again. */
async function round(endpoint, tool, params, shown, roundsLeft) {
  const began = performance.now();
  try {
    const answer = await mcp(endpoint, "tools/call", params);
    const took = milliseconds(performance.now() - began);
    if (answer.resultType === "input_required" && roundsLeft > 0) {
      shown.replaceChildren(questions(answer, (responses) => {
        const again = { ...params, inputResponses: responses };
        if (answer.requestState !== undefined) again.requestState = answer.requestState;
        shown.replaceChildren(element("p", { class: "quiet" }, "Calling…"));
        round(endpoint, tool, again, shown, roundsLeft - 1);
      }));
      return;
    }
    const state = answer.isError ? "error" : "ok";
    shown.replaceChildren(element("h3", {}, "Result ", badge(state), element("span", { class: "quiet" }, ` in ${took}`)), result(tool, answer));
  } catch (error) {
    shown.replaceChildren(element("h3", {}, "Result ", badge("failed")), element("p", { class: "failure" }, readable(error.message, 2000)));
  }
}

/** What a server asks during a call. Only forms are answered here; everything else is declined. */
function questions(answer, respond) {
  const responses = {};
  const parts = Object.entries(answer.inputRequests ?? {}).map(([id, request]) => {
    if (request.method !== "elicitation/create" || !request.params?.requestedSchema) {
      responses[id] = { action: "decline" };
      return null;
    }
    const fields = form(request.params.requestedSchema);
    responses[id] = fields;
    return element("div", {}, element("p", {}, readable(request.params.message, 2000)), fields.node);
  });
  const given = (action) =>
    Object.fromEntries(Object.entries(responses).map(([id, one]) => [id, "read" in one ? reply(action, one) : one]));
  const reply = (action, fields) => (action === "accept" ? { action, content: fields.read() } : { action });
  const failure = element("p", { class: "failure", hidden: true });
  const asked = element(
    "form",
    { class: "trial", novalidate: true },
    element("h3", {}, "The server asks"),
    ...parts,
    failure,
    element("div", { class: "actions" }, element("button", { type: "submit", class: "strong" }, "Answer"), button("Decline", () => respond(given("decline")))),
  );
  asked.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      respond(given("accept"));
    } catch (error) {
      failure.hidden = false;
      failure.textContent = readable(error.message);
    }
  });
  return asked;
}
