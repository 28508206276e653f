// A form made of a JSON Schema, and the values that are filled in. What has no field of its own is written as JSON.

import { element, readable } from "./dom.js";

const DEEPEST = 4;
const MOST_FIELDS = 200;
const LONG_TEXT = /text|body|content|code|query|sql|prompt|message|description|html|markdown/i;

let fields = 0;

/** The schema that is meant: local references followed, `null` left out of alternatives. */
function meant(schema, root, depth = 0) {
  if (schema === true || schema === null || typeof schema !== "object" || depth > 8) return {};
  if (typeof schema.$ref === "string" && schema.$ref.startsWith("#/")) {
    let found = root;
    for (const part of schema.$ref.slice(2).split("/")) {
      const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      found = found && Object.hasOwn(found, key) ? found[key] : undefined;
    }
    const { $ref, ...others } = schema;
    return found === undefined ? others : meant({ ...found, ...others }, root, depth + 1);
  }
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(alternatives)) {
    const kinds = alternatives.filter((one) => one && one.type !== "null");
    const { anyOf, oneOf, ...others } = schema;
    if (kinds.length === 1) return meant({ ...kinds[0], ...others }, root, depth + 1);
    if (kinds.length && kinds.every((one) => "const" in one)) {
      return { ...others, enum: kinds.map((one) => one.const), enumNames: kinds.map((one) => one.title ?? one.const) };
    }
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== "null");
    return types.length === 1 ? { ...schema, type: types[0] } : { ...schema, type: undefined };
  }
  return schema;
}

/** {node, read()}: `read` gives the values, or throws an error that names the field. */
export function form(schema) {
  const budget = { left: MOST_FIELDS };
  return group(meant(schema ?? {}, schema), schema ?? {}, 0, budget);
}

function group(schema, root, depth, budget) {
  const properties = schema.properties && typeof schema.properties === "object" ? schema.properties : {};
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const parts = Object.entries(properties)
    .slice(0, Math.max(0, budget.left))
    .map(([key, property]) => field(key, meant(property, root), root, required.has(key), depth, budget));
  const node = element("div", { class: "fields" }, ...parts.map((part) => part.node));
  if (!parts.length) node.append(element("p", { class: "quiet" }, "No arguments."));
  return {
    node,
    read() {
      const values = {};
      for (const part of parts) {
        const value = part.read();
        if (value !== undefined) Object.defineProperty(values, part.key, { value, enumerable: true, configurable: true });
      }
      return values;
    },
  };
}

/** Whether a title says more than the name: many are made of it. */
function isNews(title, key) {
  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  return typeof title === "string" && plain(title) !== plain(key);
}

function field(key, schema, root, isRequired, depth, budget) {
  budget.left -= 1;
  const id = `field-${(fields += 1)}`;
  const isGroup = schema.type === "object" && schema.properties && depth < DEEPEST;
  const label = readable(isNews(schema.title, key) ? `${schema.title} (${key})` : key, 120);
  const about = schema.description ? element("p", { class: "about", id: `${id}-about` }, readable(schema.description, 600)) : null;
  if (isGroup) {
    const inner = group(schema, root, depth + 1, budget);
    const node = element("fieldset", {}, element("legend", {}, element("bdi", {}, label)), about, inner.node);
    return {
      key,
      node,
      read() {
        const values = inner.read();
        return Object.keys(values).length || isRequired ? values : undefined;
      },
    };
  }
  const entry = input(id, key, schema, isRequired);
  entry.control.id = id;
  entry.control.required = isRequired;
  entry.control.setAttribute("aria-required", String(isRequired));
  if (about) entry.control.setAttribute("aria-describedby", about.id);
  const node = element(
    "div",
    { class: "field" },
    element("label", { for: id }, element("bdi", {}, label), element("span", { class: "kind" }, ` ${entry.kind}${isRequired ? ", required" : ""}`)),
    about,
    entry.control,
  );
  return {
    key,
    node,
    read() {
      entry.control.setCustomValidity("");
      const value = entry.read();
      if (value === undefined && isRequired) throw new Error(`${label} is required.`);
      return value;
    },
  };
}

function input(id, key, schema, isRequired) {
  const given = schema.default;
  if (Array.isArray(schema.enum) && schema.enum.length && schema.enum.length <= 500) return choice(schema, isRequired);
  switch (schema.type) {
    case "boolean": {
      return choice({ enum: [true, false], enumNames: ["yes", "no"], default: given }, isRequired, "yes or no");
    }
    case "integer":
    case "number": {
      const control = element("input", {
        type: "number",
        step: schema.type === "integer" ? 1 : "any",
        min: schema.minimum,
        max: schema.maximum,
        value: typeof given === "number" ? given : undefined,
      });
      return { control, kind: schema.type, read: () => (control.value === "" ? undefined : Number(control.value)) };
    }
    case "string": {
      const isLong = LONG_TEXT.test(key) || (schema.maxLength ?? 0) > 200 || String(given ?? "").includes("\n");
      const control = isLong ? element("textarea", { rows: 3 }) : element("input", { type: "text", autocomplete: "off" });
      control.value = typeof given === "string" ? given : "";
      control.spellcheck = isLong;
      // An empty text is a value where there must be one.
      return {
        control,
        kind: schema.format ? `text, ${readable(schema.format, 30)}` : "text",
        read: () => (control.value === "" && !(isRequired && (schema.minLength ?? 0) === 0) ? undefined : control.value),
      };
    }
    default:
      return json(schema, given);
  }
}

function choice(schema, isRequired, kind = "choice") {
  const names = schema.enumNames ?? schema.enum;
  const options = schema.enum.map((value, index) =>
    element("option", { value: index, selected: value === schema.default }, readable(names[index], 100)),
  );
  const nothing = isRequired ? [] : [element("option", { value: "" }, "not given")];
  const control = element("select", {}, ...nothing, ...options);
  return { control, kind, read: () => (control.value === "" ? undefined : schema.enum[Number(control.value)]) };
}

function json(schema, given) {
  const isTexts = schema.type === "array" && schema.items && schema.items.type === "string" && !schema.items.enum;
  const control = element("textarea", { rows: 3, spellcheck: "false", class: isTexts ? undefined : "code" });
  if (isTexts) {
    control.value = Array.isArray(given) ? given.join("\n") : "";
    return {
      control,
      kind: "list, one a line",
      read: () => (control.value === "" ? undefined : control.value.split("\n").filter((line) => line !== "")),
    };
  }
  control.value = given === undefined ? "" : JSON.stringify(given, null, 2);
  return {
    control,
    kind: `${schema.type ?? "anything"}, as JSON`,
    read() {
      if (control.value.trim() === "") return undefined;
      try {
        return JSON.parse(control.value);
      } catch (error) {
        control.setCustomValidity("This is not JSON.");
        control.focus();
        throw new Error(`This is not JSON: ${error.message}`);
      }
    },
  };
}
