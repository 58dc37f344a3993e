// A form made from the OpenAPI document of a model's API. Text of the document and of answers is only ever text.

import { el, notice, number, put, section } from "./dom.js";
import { why } from "./explanation.js";

const main = document.getElementById("main");
let key = ""; // as long as the page is open, and nowhere else

theme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
open();

function theme() {
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, credentials: "omit", headers: { ...options.headers, ...(key ? { "x-api-key": key } : {}) } });
  } catch {
    throw new Error("The API cannot be reached: try again later.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const error = new Error((body.error || {}).message || { 401: "A key is needed.", 403: "This key is not known.", 429: "Too many requests: try again in a moment." }[answer.status] || `The API answers with status ${answer.status}: try again later.`);
  error.status = answer.status;
  error.problems = (body.error || {}).problems || [];
  throw error;
}

async function open() {
  try {
    show(await ask("openapi.json"));
  } catch (error) {
    if (error.status === 401 || error.status === 403) askForKey(key ? error.message : "");
    else put(main, notice("bad", el("p", {}, error.message)));
  }
}

function askForKey(wrong) {
  const input = el("input", { id: "key", type: "password", autocomplete: "off", "aria-describedby": "key-wrong", "aria-invalid": wrong ? "true" : null });
  const form = el(
    "form",
    {
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        key = input.value.trim();
        open();
      },
    },
    el("div", { class: "fields" }, el("div", { class: "field" }, el("label", { for: "key" }, "Key"), input, el("span", { class: "wrong", id: "key-wrong", role: wrong ? "alert" : null }, wrong))),
    el("button", { type: "submit", class: "main" }, "Open the form"),
  );
  put(main, section("This model asks for a key", el("p", {}, "Whoever runs the model gives one out. It is kept until this page is closed."), form));
  input.focus();
}

function show(document_) {
  const { title, description } = document_.info;
  document.title = title;
  put(document.getElementById("title"), document.createTextNode(title));
  const schema = document_.components.schemas.Row;
  const post = document_.paths["/predictions"].post;
  const example = (post.requestBody.content["application/json"].example || { rows: [null] }).rows[0];
  const required = new Set(schema.required);
  const inputs = new Map(Object.entries(schema.properties).map(([name, column]) => [name, made(name, column, required.has(name))]));
  const answer = el("div", { "aria-live": "polite" });
  const form = el(
    "form",
    {
      novalidate: true,
      onsubmit: async (event) => {
        event.preventDefault();
        clear(inputs, answer);
        const row = Object.fromEntries([...inputs].map(([name, { input }]) => [name, input.value.trim() === "" ? null : input.value.trim()]));
        try {
          const found = await predicted(row);
          put(answer, told(found, post.summary, document_.components.schemas.Prediction), reasons(row));
          answer.scrollIntoView({ block: "nearest" });
        } catch (error) {
          wrong(error, inputs, answer);
        }
      },
    },
    el("div", { class: "fields" }, [...inputs.values()].map(({ whole }) => whole)),
    el(
      "div",
      { class: "row" },
      el("button", { type: "submit", class: "main" }, post.summary),
      example ? el("button", { type: "button", onclick: () => fill(inputs, answer, example) }, "Fill in an example") : null,
      el("button", { type: "button", onclick: () => fill(inputs, answer, {}) }, "Empty the form"),
    ),
  );
  put(main, section(post.summary, el("p", {}, description), el("p", { class: "soft small" }, "Fields with a * are needed."), form), answer);
}

async function predicted(row, explain) {
  const body = JSON.stringify({ rows: [row], explain });
  const { predictions } = await ask("predictions", { method: "POST", headers: { "content-type": "application/json" }, body });
  return predictions[0];
}

// Asked for by a button, because it takes many times as long as the prediction.
function reasons(row) {
  const place = el("div", { "aria-live": "polite" });
  const button = el("button", { type: "button" }, "What moved this answer?");
  button.addEventListener("click", async () => {
    button.disabled = true;
    put(place, el("p", { class: "soft" }, "Asking the model…"));
    try {
      const moved = why(await predicted(row, true));
      moved.tabIndex = -1;
      put(place, moved);
      button.remove();
      moved.focus(); // the button that had it is gone
    } catch (error) {
      put(place, notice("bad", el("p", {}, error.message)));
      button.disabled = false;
    }
  });
  return [button, place];
}

function made(name, column, required) {
  const id = `field-${name}`;
  const types = [column.type].flat();
  const choices = types.includes("boolean") ? ["true", "false"] : (column.enum || []).filter((value) => value !== null);
  const props = { id, name, autocomplete: "off", "aria-describedby": `${id}-hint ${id}-wrong`, "aria-required": required ? "true" : null };
  const input = choices.length
    ? el("select", props, el("option", { value: "" }, required ? "choose…" : "(missing)"), choices.map((value) => el("option", { value }, String(value))))
    : el("input", { ...props, type: "text", inputmode: types.some((type) => type === "number" || type === "integer") ? "decimal" : null });
  const hint = [column.description, choices.length ? null : column["x-expected"]].filter(Boolean).join("; ");
  const problem = el("span", { class: "wrong", id: `${id}-wrong` });
  const whole = el("div", { class: "field" }, el("label", { for: id }, name, required ? " *" : ""), input, el("span", { class: "hint", id: `${id}-hint` }, hint), problem);
  return { input, whole, problem };
}

function clear(inputs, answer) {
  put(answer);
  for (const { input, problem } of inputs.values()) {
    input.removeAttribute("aria-invalid");
    put(problem);
  }
}

function fill(inputs, answer, row) {
  clear(inputs, answer);
  for (const [name, { input }] of inputs) input.value = row[name] === null || row[name] === undefined ? "" : String(row[name]);
}

function wrong(error, inputs, answer) {
  const rest = [];
  for (const problem of error.problems || []) {
    const one = inputs.get(problem.column);
    if (!one) {
      rest.push(problem.rule ? `${problem.rule}: ${problem.problem}` : problem.problem);
      continue;
    }
    one.input.setAttribute("aria-invalid", "true");
    put(one.problem, document.createTextNode(problem.problem));
  }
  const beside = [...inputs.values()].filter(({ input }) => input.getAttribute("aria-invalid"));
  const text = rest.length ? rest.join("; ") : beside.length ? "Some fields are not right: see beside them." : error.message;
  put(answer, notice("bad", el("p", {}, text)));
  if (beside.length) beside[0].input.focus();
}

function told(found, summary, schema) {
  const target = summary.replace(/^Predict /, "");
  const unit = schema.properties.prediction["x-unit"];
  const plain = [target, typeof found.prediction === "number" ? number(found.prediction) : found.prediction, unit].filter(Boolean).join(" ");
  return section(
    "The model says",
    el("p", { class: "answer" }, found.words ? found.words.text : plain),
    found.words ? el("p", { class: "soft" }, plain) : null,
    Object.entries(found.probabilities || {}).map(([name, share]) =>
      el("div", { class: "bar" }, el("span", {}, name), el("progress", { value: share, max: 1, "aria-label": `probability of ${name}` }), el("span", {}, `${(100 * share).toFixed(1)} %`)),
    ),
  );
}
