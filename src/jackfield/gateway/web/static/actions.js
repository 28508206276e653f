// Actions on the gateway. Each that takes something away asks once before.

import { post } from "./api.js";
import { readable, setText } from "./dom.js";

const question = document.getElementById("question");
const outcome = document.getElementById("outcome");
let hideAt = 0;

/** Asks once; `act` follows a yes. */
export function ask({ title, text, verb, act }) {
  setText(document.getElementById("question-title"), title);
  setText(document.getElementById("question-text"), text);
  setText(document.getElementById("question-yes"), verb);
  question.returnValue = "no";
  question.onclose = () => {
    if (question.returnValue === "yes") act();
  };
  question.showModal();
}

/** Posts an action, and tells what came of it. */
export async function act(action, body, told) {
  try {
    const said = await post(`actions/${action}`, body);
    tell(told(said));
  } catch (error) {
    tell(error.message, true);
  }
}

/** A message at the bottom of the page, read out by screen readers. */
export function tell(text, isFailure = false) {
  outcome.hidden = false;
  outcome.dataset.failure = String(isFailure);
  setText(outcome, readable(text));
  const seconds = isFailure ? 12 : 5;
  hideAt = Date.now() + seconds * 1000;
  setTimeout(() => {
    if (Date.now() >= hideAt - 50) outcome.hidden = true;
  }, seconds * 1000);
}
