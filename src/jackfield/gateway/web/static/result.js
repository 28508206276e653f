// What a tool answered: text, pictures and everything else, as a person can read it.

import { element, name, number, readable } from "./dom.js";

const PICTURE = /^image\/(png|jpeg|gif|webp|avif|bmp|svg\+xml)$/;
const LONGEST_TEXT = 100_000;

/** The result of a call. */
export function result(tool, answer) {
  const blocks = Array.isArray(answer.content) ? answer.content : [];
  const shown = element("div", { class: "blocks" }, ...blocks.slice(0, 200).map((block) => content(tool, block)));
  if (!blocks.length) shown.append(element("p", { class: "quiet" }, "The tool answered without content."));
  if (answer.structuredContent !== undefined && answer.structuredContent !== null) {
    shown.append(folded("Structured content", answer.structuredContent));
  }
  shown.append(folded("The whole result", answer));
  return shown;
}

function content(tool, block) {
  switch (block?.type) {
    case "text":
      return text(block.text);
    case "image":
      return picture(tool, block);
    case "audio":
      return element("p", { class: "quiet" }, `Audio, ${readable(block.mimeType, 60)}, ${size(block.data)}.`);
    case "resource_link":
      return element("p", {}, "Resource: ", name(block.name ?? block.uri), " ", element("code", {}, readable(block.uri)));
    case "resource": {
      const inner = block.resource ?? {};
      const head = element("p", {}, "Resource: ", element("code", {}, readable(inner.uri)));
      if (typeof inner.text === "string") return element("div", {}, head, text(inner.text));
      if (PICTURE.test(inner.mimeType ?? "")) return element("div", {}, head, picture(tool, { ...inner, data: inner.blob }));
      head.append(` ${readable(inner.mimeType, 60)}, ${size(inner.blob)}`);
      return head;
    }
    default:
      return folded("Something else", block);
  }
}

function text(value) {
  const whole = String(value ?? "").replaceAll("\r\n", "\n");
  const cut = whole.length > LONGEST_TEXT ? `${whole.slice(0, LONGEST_TEXT)}…` : whole;
  return element("pre", { dir: "auto", tabindex: 0, "aria-label": "Text" }, readable(cut, LONGEST_TEXT + 1));
}

function picture(tool, block) {
  const type = String(block.mimeType ?? "");
  if (!PICTURE.test(type) || !/^[A-Za-z0-9+/=\s]*$/.test(String(block.data ?? ""))) {
    return element("p", { class: "quiet" }, `An image that cannot be shown: ${readable(type, 60)}, ${size(block.data)}.`);
  }
  const shown = element("img", { src: `data:${type};base64,${block.data}`, alt: `Image from ${readable(tool, 100)}` });
  return element("figure", {}, shown, element("figcaption", { class: "quiet" }, `${type}, ${size(block.data)}`));
}

function size(base64) {
  const bytes = Math.floor((String(base64 ?? "").length * 3) / 4);
  return bytes < 1024 ? `${number(bytes)} bytes` : `${number(Math.round(bytes / 1024))} KiB`;
}

/** Something as JSON, folded away. */
export function folded(title, value) {
  const lines = readable(JSON.stringify(value, null, 2), LONGEST_TEXT);
  return element("details", {}, element("summary", {}, title), element("pre", { class: "code", tabindex: 0, "aria-label": title }, lines));
}
