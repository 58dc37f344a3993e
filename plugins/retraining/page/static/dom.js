// Elements, made from text only: nothing that came from outside is ever read as markup.

export const DASH = "–";

export function el(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function put(place, ...children) {
  place.replaceChildren(...children.flat(3).filter(Boolean));
  return place;
}

export const section = (title, ...children) => el("section", {}, el("h2", {}, title), children);

export const notice = (kind, ...children) => el("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, ...children);

export const card = (label, value, note) =>
  el("div", { class: "card" }, el("span", { class: "label" }, label), el("span", { class: "value" }, value), note ? el("span", { class: "note" }, note) : null);

export const badge = (text, kind = "") => el("span", { class: `badge ${kind}` }, text);

// columns: [{name, cell: (row) => text or node, n: is it a number, wide: is it prose}]
export function table(caption, columns, rows, empty = "none") {
  if (!rows.length) return el("p", { class: "soft" }, empty);
  const kind = (column) => (column.n ? "n" : column.wide ? "wide" : null);
  const head = el("tr", {}, columns.map((column) => el("th", { scope: "col", class: column.n ? "n" : null }, column.name)));
  const body = rows.map((row) => el("tr", {}, columns.map((column) => el("td", { class: kind(column) }, column.cell(row) ?? DASH))));
  const made = el("table", {}, caption ? el("caption", {}, caption) : null, el("thead", {}, head), el("tbody", {}, body));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption || "table" }, made);
}

export const field = (label, input, hint) =>
  el("label", { class: "field" }, el("span", {}, label), input, hint ? el("span", { class: "hint" }, hint) : null);

// toLocaleString would make a format for each number: a tenth of a second for a view with 200 runs.
const WHOLE = new Intl.NumberFormat("en");
const FOUR_DIGITS = new Intl.NumberFormat("en", { minimumSignificantDigits: 4, maximumSignificantDigits: 4 });

// Numbers with four significant digits and thousands apart, as the reports have them.
export function number(value, sign = false) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  const shown = (Number.isInteger(value) ? WHOLE : FOUR_DIGITS).format(value);
  return sign && value > 0 ? `+${shown}` : shown;
}

export function odds(value) {
  if (value === null || value === undefined) return DASH;
  const ratio = value >= 1 ? value : 1 / value;
  const shown = ratio > 1000 ? "1,000+" : WHOLE.format(Number(ratio.toPrecision(2)));
  return value >= 1 ? `${shown} to 1` : `1 to ${shown}`;
}

export function bytes(size) {
  if (size < 1024) return `${size} B`;
  return size < 1048576 ? `${(size / 1024).toFixed(1)} KB` : `${(size / 1048576).toFixed(1)} MB`;
}

// UTC, as everything that the project writes.
export function moment(text) {
  const at = text ? new Date(text) : null;
  return at && !Number.isNaN(at.getTime()) ? `${at.toISOString().slice(0, 16).replace("T", " ")} UTC` : DASH;
}

export function decisionKind(decision) {
  if (!decision) return "";
  if (decision === "promoted") return "good";
  return decision === "rejected" ? "warn" : decision.startsWith("approv") ? "" : "bad";
}

export const name = (key) => key.split("/").slice(2).join("/") || key;
