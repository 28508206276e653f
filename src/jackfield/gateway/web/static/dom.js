// Builds the page. Every text goes in as text, never as markup: names come from servers and clients.

/** An element with properties and children; strings become text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

/** Sets an element's text if it is another one: what did not change keeps its selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// What is not printed, or turns the direction of a text around, is shown by its number.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;
const LONGEST = 300;

/** A name as people can read it: no character that is invisible, and not without end. */
export function readable(value, longest = LONGEST) {
  const whole = String(value ?? "");
  const cut = whole.length > longest ? `${whole.slice(0, longest)}…` : whole;
  return cut.replace(UNSEEN, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

/** A name in an element of its own, so that its direction does not reach what stands next to it. */
export function name(value, properties = {}) {
  return element("bdi", { class: "name", ...properties }, readable(value));
}

/** A state: a dot and a word. */
export function badge(state, title) {
  return element("span", { class: "badge", "data-state": state, title }, state);
}

export function button(text, action, properties = {}) {
  return element("button", { type: "button", ...properties, onclick: action }, text);
}

/**
 * A table that is updated in place, so that focus and selection stay where they are.
 *
 * Columns: {title, text(row) or node(row), stamp(row), numeric, hidden}; `node` is called again only if `stamp` differs.
 */
export function table(label, columns, { empty }) {
  const body = element("tbody", { role: "rowgroup" });
  const titles = columns.map((column) =>
    element(
      "th",
      { role: "columnheader", scope: "col", class: column.numeric ? "numeric" : undefined },
      element("span", { class: column.hidden ? "unseen" : undefined }, column.title),
    ),
  );
  const grid = element(
    "table",
    { role: "table", "aria-label": label },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...titles)),
    body,
  );
  const nothing = element("p", { class: "empty" }, empty);
  const rows = new Map();

  function made(row) {
    const cells = columns.map((column) =>
      element("td", {
        role: "cell",
        "data-title": column.hidden ? undefined : column.title,
        class: [column.numeric ? "numeric" : "", column.wide ? "wide" : ""].join(" ").trim() || undefined,
      }),
    );
    return { line: element("tr", { role: "row" }, ...cells), cells, stamps: [] };
  }

  function fill(shown, row) {
    columns.forEach((column, index) => {
      const cell = shown.cells[index];
      if (column.text) {
        const text = column.text(row) ?? "";
        setText(cell, text);
        cell.classList.toggle("blank", text === "");
        return;
      }
      const stamp = JSON.stringify(column.stamp ? column.stamp(row) : row.key);
      if (shown.stamps[index] === stamp) return;
      shown.stamps[index] = stamp;
      const node = column.node(row);
      cell.replaceChildren(...(node ? [node] : []));
      cell.classList.toggle("blank", !node);
    });
  }

  return {
    node: element("div", { class: "table" }, grid, nothing),
    update(data) {
      const keys = new Set(data.map((row) => row.key));
      for (const [key, shown] of rows) {
        if (!keys.has(key)) {
          shown.line.remove();
          rows.delete(key);
        }
      }
      data.forEach((row, index) => {
        if (!rows.has(row.key)) rows.set(row.key, made(row));
        const shown = rows.get(row.key);
        fill(shown, row);
        if (body.children[index] !== shown.line) body.insertBefore(shown.line, body.children[index] ?? null);
      });
      grid.hidden = data.length === 0;
      nothing.hidden = data.length > 0;
    },
  };
}

/** A list of facts that is updated in place. */
export function facts(label) {
  const list = element("dl", { class: "facts", "aria-label": label });
  const shown = new Map();
  return {
    node: list,
    update(pairs) {
      const given = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
      const titles = new Set(given.map(([title]) => title));
      for (const [title, pair] of shown) {
        if (!titles.has(title)) {
          pair.remove();
          shown.delete(title);
        }
      }
      for (const [index, [title, value]] of given.entries()) {
        if (!shown.has(title)) shown.set(title, element("div", {}, element("dt", {}, title), element("dd")));
        const pair = shown.get(title);
        if (list.children[index] !== pair) list.insertBefore(pair, list.children[index] ?? null);
        const place = pair.lastChild;
        if (value instanceof Node) {
          if (place.textContent !== value.textContent) place.replaceChildren(value);
        } else setText(place, readable(value));
      }
    },
  };
}

// Times and numbers

/** Seconds as people say them. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 10000) return `${Math.round(value).toLocaleString("en")} ms`;
  return `${(value / 1000).toFixed(1)} s`;
}

export function number(value) {
  return value === null || value === undefined ? "" : value.toLocaleString("en");
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

export function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}
