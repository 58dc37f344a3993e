// Try it: a form made from the contract, and what the serving model says.

import { comparison } from "./compare.js";
import { el, notice, number, put, section } from "./dom.js";
import { why } from "./explanation.js";
import * as server from "./server.js";

export async function show(place, context) {
  const now = await server.get(server.route(context.model, "now"));
  const features = now.about.columns.filter((column) => column.name !== now.about.target);
  const inputs = new Map(features.map((column) => [column.name, made(column)]));
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
          const { predictions } = await server.post(server.route(context.model, "predictions"), { rows: [row] });
          const why = el("div", { "aria-live": "polite" });
          put(answer, told(predictions[0], now), why);
          answer.scrollIntoView({ block: "nearest" });
          await explain(row, context, why);
        } catch (error) {
          wrong(error, inputs, answer);
        }
      },
    },
    el("div", { class: "fields" }, [...inputs.values()].map(({ whole }) => whole)),
    el("div", { class: "row" }, el("button", { type: "submit", class: "main" }, `Predict ${now.about.target}`), el("button", { type: "button", onclick: () => clear(inputs, answer, true) }, "Empty the form")),
  );
  put(
    place,
    section(
      "Try it",
      el("p", {}, now.about.description || `Predict ${now.about.target}.`),
      unanswered(now),
      form,
    ),
    answer,
    comparison(now, context),
  );
}

function unanswered(now) {
  if (now.endpoint.name === null) return notice("warn", el("p", {}, `This model has no endpoint that could answer: upload a file to ${now.about.name}/batch/in/.`));
  return now.endpoint.status === null ? notice("warn", el("p", {}, "No model serves yet: the first run that judges a model deploys it.")) : null;
}

function made(column) {
  const id = `field-${column.name}`;
  const limits = [
    column.min !== null && column.min !== undefined ? `${column.exclusive_min ? "above" : "from"} ${column.min}` : null,
    column.max !== null && column.max !== undefined ? `${column.exclusive_max ? "below" : "to"} ${column.max}` : null,
  ].filter(Boolean).join(" ");
  const options = (values) => [el("option", { value: "" }, column.nullable ? "(missing)" : "choose…"), values.map((value) => el("option", { value }, String(value)))];
  const props = { id, name: column.name, "aria-describedby": `${id}-hint ${id}-wrong`, autocomplete: "off" };
  const numeric = column.type === "double" || column.type === "int";
  const input = (column.allowed || []).length
    ? el("select", props, options(column.allowed))
    : column.type === "boolean"
      ? el("select", props, options(["true", "false"]))
      : el("input", { ...props, type: "text", inputmode: numeric ? "decimal" : null, placeholder: { date: "YYYY-MM-DD", timestamp: "YYYY-MM-DDThh:mm:ssZ" }[column.type] });
  const hint = [column.description, column.unit ? `in ${column.unit}` : null, limits].filter(Boolean).join("; ");
  const problem = el("span", { class: "wrong", id: `${id}-wrong` });
  const whole = el("div", { class: "field" }, el("label", { for: id }, column.name, column.nullable ? "" : " *"), input, el("span", { class: "hint", id: `${id}-hint` }, hint), problem);
  return { input, whole, problem };
}

function clear(inputs, answer, values = false) {
  put(answer);
  for (const { input, problem } of inputs.values()) {
    input.removeAttribute("aria-invalid");
    put(problem);
    if (values) input.value = "";
  }
}

function wrong(error, inputs, answer) {
  const reasons = ((error.body || {}).reasons || [[]])[0] || [];
  const rest = [];
  for (const reason of reasons) {
    const [subject, ...words] = reason.split(": ");
    const one = inputs.get(subject);
    if (!one) {
      rest.push(reason);
      continue;
    }
    one.input.setAttribute("aria-invalid", "true");
    put(one.problem, document.createTextNode(words.join(": ")));
  }
  const text = rest.length ? rest.join("; ") : reasons.length ? "Some fields break the contract: see beside them." : error.message;
  put(answer, notice("bad", el("p", {}, text)));
  const first = [...inputs.values()].find(({ input }) => input.getAttribute("aria-invalid"));
  if (first) first.input.focus();
}

function told(found, now) {
  const { champion, about } = now;
  const plain = `${about.target} ${typeof found.prediction === "number" ? number(found.prediction) : found.prediction}`;
  const shares = found.probabilities ? Object.entries(found.probabilities) : [];
  return section(
    "The model says",
    el("p", { class: "answer" }, found.words ? found.words.text : plain),
    found.words ? el("p", { class: "soft" }, plain) : null,
    shares.map(([name, share]) => el("div", { class: "bar" }, el("span", {}, name), el("progress", { value: share, max: 1, "aria-label": `probability of ${name}` }), el("span", {}, `${(100 * share).toFixed(1)} %`))),
    champion && champion.score !== null && champion.metric
      ? el("p", { class: "soft small" }, `Model ${champion.package}: ${champion.metric} ${number(champion.score)} on ${number(champion.test_rows)} test rows that it never saw. A single prediction can be further off.`)
      : null,
  );
}

// Asked after the prediction stands there, which takes many times as long.
async function explain(row, context, place) {
  put(place, el("p", { class: "soft" }, "Asking the model why…"));
  try {
    const { predictions } = await server.post(server.route(context.model, "predictions"), { rows: [row], explain: true });
    put(place, why(predictions[0]));
  } catch (error) {
    put(place, el("p", { class: "soft" }, `The model does not say why: ${error.message}`));
  }
}
