// The way in: by the one-time link that the gateway prints, by a token, or by the gateway's OAuth.

import { get, post, token } from "./api.js";
import { button, element, readable, setText } from "./dom.js";

/** Shows the ways in; `done` follows once there is a token. */
export async function signIn(place, reason, done) {
  const note = element("p", { class: "failure", role: "alert", hidden: !reason }, readable(reason));
  const fail = (text) => {
    note.hidden = false;
    setText(note, readable(text));
  };
  const ways = element("div", { class: "ways" });
  place.replaceChildren(element("section", { class: "view sign-in" }, element("h2", {}, "Sign in"), note, ways));
  try {
    const { sign_in: offered } = await get("about");
    if (offered.includes("oauth")) ways.append(byOAuth(fail));
    if (offered.includes("token")) ways.append(byToken(fail, done));
    if (offered.includes("link")) ways.append(byLink(fail));
  } catch (error) {
    fail(error.message);
  }
}

function byToken(fail, done) {
  const entry = element("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: "false" });
  const asked = element(
    "form",
    {},
    element("label", { for: "token" }, "Token with the scope admin"),
    entry,
    element("button", { type: "submit", class: "strong" }, "Sign in"),
  );
  asked.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = entry.value.trim();
    if (!given) return;
    try {
      await post("sign-in", { token: given });
      token.set(given);
      done();
    } catch (error) {
      entry.select();
      fail(error.message);
    }
  });
  return asked;
}

function byLink(fail) {
  const said = element("p", { role: "status" });
  return element(
    "div",
    {},
    element("p", {}, "Open the link that ", element("code", {}, "jackfield serve"), " printed in its terminal. It is valid once."),
    button("Print a new link in the terminal", async () => {
      try {
        await post("link");
        setText(said, "A new link is in the terminal of jackfield serve.");
      } catch (error) {
        fail(error.message);
      }
    }),
    said,
  );
}

function byOAuth(fail) {
  return element(
    "div",
    {},
    button("Sign in with your account", async () => {
      try {
        const nonce = crypto.randomUUID();
        sessionStorage.setItem("jackfield.nonce", nonce);
        location.assign((await post("oauth", { nonce })).url);
      } catch (error) {
        fail(error.message);
      }
    }, { class: "strong" }),
  );
}
