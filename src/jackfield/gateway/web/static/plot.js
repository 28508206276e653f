// The durations of one tool over the last hour: p50 and p95 by minute, and where errors were.

import { clock } from "./dom.js";

const NAMESPACE = "http://www.w3.org/2000/svg";

function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A round number that is not below the value: 1, 2 or 5 times a power of ten. */
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

/**
 * A plot of [minute, calls, errors, p50, p95] rows. Small ones have no axes.
 *
 * Minutes without a call are gaps: a line leads only through minutes that follow one another.
 */
export function plot(minutes, now, { width, height, small = false, label }) {
  const left = small ? 0 : 56;
  const bottom = small ? 2 : 22;
  const top = small ? 2 : 8;
  const right = small ? 2 : 8;
  const end = Math.floor(now / 60) * 60;
  const begin = end - 59 * 60;
  const highest = ceiling(Math.max(1, ...minutes.map((minute) => minute[4] ?? 0)));
  const x = (at) => left + ((at - begin) / (59 * 60)) * (width - left - right);
  const y = (ms) => height - bottom - (ms / highest) * (height - top - bottom);
  const drawn = shape("svg", {
    viewBox: `0 0 ${width} ${height}`,
    class: small ? "plot small" : "plot",
    role: "img",
    "aria-label": label,
    preserveAspectRatio: "none",
  });
  if (!small) drawn.append(...axes({ left, right, bottom, width, height, highest, begin, end, x, y }));
  const shown = minutes.filter((minute) => minute[0] >= begin);
  for (const [place, kind] of [[4, "p95"], [3, "p50"]]) {
    for (const run of runs(shown.filter((minute) => minute[place] !== null))) {
      const points = run.map((minute) => `${x(minute[0]).toFixed(1)},${y(minute[place]).toFixed(1)}`);
      if (run.length === 1) {
        const [cx, cy] = points[0].split(",");
        drawn.append(shape("circle", { class: `dot ${kind}`, cx, cy, r: small ? 1.5 : 3 }));
      } else drawn.append(shape("polyline", { class: `line ${kind}`, points: points.join(" ") }));
    }
  }
  for (const minute of shown.filter((one) => one[2] > 0)) {
    const at = x(minute[0]).toFixed(1);
    drawn.append(shape("line", { class: "line failed", x1: at, x2: at, y1: height - bottom, y2: height - bottom - 5 }));
  }
  return drawn;
}

function axes({ left, right, bottom, width, height, highest, begin, end, x, y }) {
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const at = y(highest * share);
    parts.push(shape("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }));
    const text = shape("text", { x: left - 6, y: at + 4, "text-anchor": "end" });
    text.textContent = tick(highest * share);
    parts.push(text);
  }
  for (const at of [begin, begin + 20 * 60, begin + 40 * 60, end]) {
    const anchor = at === end ? "end" : at === begin ? "start" : "middle";
    const text = shape("text", { x: x(at), y: height - bottom + 16, "text-anchor": anchor });
    text.textContent = clock(at).slice(0, 5);
    parts.push(text);
  }
  return parts;
}

function tick(ms) {
  return ms === 0 ? "0" : ms < 1000 ? `${ms} ms` : `${ms / 1000} s`;
}

function runs(minutes) {
  const found = [];
  for (const minute of minutes) {
    const last = found.at(-1);
    if (last && minute[0] - last.at(-1)[0] <= 60) last.push(minute);
    else found.push([minute]);
  }
  return found;
}
