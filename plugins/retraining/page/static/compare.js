// A file of one's own beside what the model says: predicted against actual, and the model's error on these very rows.

import { DASH, el, notice, number, put, section, table } from "./dom.js";
import { agreement } from "./plots.js";
import * as server from "./server.js";

const SHOWN = 20;
const NAMES = { rmse: "RMSE", mae: "MAE", bias: "Bias", r2: "R²", log_loss: "Log loss", accuracy: "Accuracy" };

export function comparison(now, context) {
  const result = el("div", { "aria-live": "polite" });
  const input = el("input", { type: "file", id: "own", accept: ".csv,.tsv,.txt,.jsonl,.ndjson,.json,.gz,.bz2,.zst" });
  input.addEventListener("change", () => input.files[0] && asked(input.files[0], now, context, result));
  return [
    section(
      "A file of your own",
      el("p", {}, `The model answers each row of a file. Where the file holds ${now.about.target}, you see what is predicted beside what was measured. Nothing is stored, and no model learns from it.`),
      el("p", {}, el("label", { for: "own" }, "Choose a file (CSV or JSON Lines, plain or packed): "), input),
    ),
    result,
  ];
}

async function asked(file, now, context, result) {
  put(result, el("p", { class: "soft" }, `Asking the model about ${file.name}…`));
  try {
    const found = await server.upload(server.route(context.model, "comparisons"), file, { name: file.name });
    put(result, told(found, now));
    result.scrollIntoView({ block: "nearest" });
  } catch (error) {
    put(result, notice("bad", el("p", {}, error.message)));
  }
}

function told(found, { about, champion }) {
  if (found.refused) return section(found.file, notice("bad", el("p", {}, found.refused), found.remedy ? el("p", {}, `What to do: ${found.remedy}`) : null));
  const { rows } = found;
  return section(
    found.file,
    el("p", {}, [
      `${number(rows.length)} rows answered`,
      found.more ? ", the first of the file; make score and the folder batch/in/ take whole files" : "",
      found.rejected ? `; ${number(found.rejected)} rows break the contract and were not asked about` : "",
      found.labelled ? "." : `. The file does not hold ${about.target}, so there is nothing to compare with.`,
    ].join("")),
    found.first.length
      ? table(`The first ${number(found.first.length)} rejected lines`, [
          { name: "Line", cell: (line) => number(line.line), n: true },
          { name: "Value", cell: (line) => el("span", { class: "raw" }, line.value ?? DASH) },
          { name: "Why", cell: (line) => line.reason, wide: true },
        ], found.first)
      : null,
    found.scores ? figures(found, champion) : null,
    found.scores && !("accuracy" in found.scores) ? agreement(rows, about.target) : null,
    found.scores && "accuracy" in found.scores ? confusion(rows, about.target) : null,
    answers(found, about),
    server.framed || !rows.length ? null : el("p", {}, download(found)),
  );
}

function figures({ scores, rows }, champion) {
  const known = (name) => champion && champion.metric === NAMES[name] && champion.score !== null;
  const beside = (name) => (known(name) ? `${number(champion.score)} on ${number(champion.test_rows)} test rows` : DASH);
  return table(`The model's error on these ${number(rows.length)} rows`, [
    { name: "Figure", cell: ([name]) => NAMES[name] },
    { name: "Here", cell: ([name, value]) => number(value, name === "bias"), n: true },
    { name: "When it was judged", cell: ([name]) => beside(name), n: true },
  ], Object.entries(scores));
}

function confusion(rows, target) {
  const names = [...new Set(rows.flatMap((row) => [row.actual, String(row.prediction)]))].sort();
  const count = (actual, said) => rows.filter((row) => row.actual === actual && String(row.prediction) === said).length;
  return table(`Rows by actual and predicted ${target}`, [
    { name: `actual ${target}`, cell: (actual) => actual },
    ...names.map((said) => ({ name: `predicted ${said}`, n: true, cell: (actual) => number(count(actual, said)) })),
  ], names);
}

function answers({ rows, labelled }, { target }) {
  const first = labelled ? [...rows].sort((a, b) => b.loss - a.loss) : rows;
  const classes = rows.length > 0 && rows[0].probabilities !== null;
  const said = (value) => (typeof value === "number" ? number(value) : String(value));
  return table(
    labelled ? `The ${number(Math.min(SHOWN, rows.length))} rows with the largest error` : `The first ${number(Math.min(SHOWN, rows.length))} answers`,
    [
      { name: "Line", cell: (row) => number(row.line), n: true },
      labelled ? { name: `Actual ${target}`, cell: (row) => said(row.actual), n: !classes } : null,
      { name: `Predicted ${target}`, cell: (row) => said(row.prediction), n: !classes },
      classes ? { name: labelled ? "Probability of the actual one" : "Its probability", n: true, cell: (row) => number(row.probabilities[labelled ? row.actual : String(row.prediction)]) } : null,
      labelled && !classes ? { name: "Predicted minus actual", n: true, cell: (row) => number(row.error, true) } : null,
    ].filter(Boolean),
    first.slice(0, SHOWN),
    "no row was answered",
  );
}

function download({ rows, labelled, file }) {
  const quoted = (value) => (/[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const classes = Object.keys(rows[0].probabilities || {});
  const head = ["line", ...(labelled ? ["actual"] : []), "prediction", ...classes.map((name) => `probability_${name}`)];
  const line = (row) => [row.line, ...(labelled ? [row.actual] : []), row.prediction, ...classes.map((name) => row.probabilities[name])];
  const text = [head, ...rows.map(line)].map((cells) => `${cells.map(quoted).join(",")}\n`).join("");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  return el("a", { href: address, download: `${file.replace(/\.[^.]*$/, "")}-answers.csv` }, `All ${number(rows.length)} answers as CSV`);
}
