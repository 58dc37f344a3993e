// Send data: a file is judged line by line before it goes anywhere, then sent, then followed to its run.

import { badge, bytes, decisionKind, el, notice, number, put, section, table } from "./dom.js";
import * as server from "./server.js";

const FOLLOW_SECONDS = 3;

export async function show(place, context) {
  const now = await server.get(server.route(context.model, "now"));
  if (!now.person.may_act) {
    put(place, section("Send data", el("p", {}, `You may look at ${context.model}; who may start the DAG ${context.dag} may send data.`)));
    return;
  }
  const result = el("div", { "aria-live": "polite" });
  const input = el("input", { type: "file", id: "file", accept: ".csv,.tsv,.txt,.jsonl,.ndjson,.json,.gz,.bz2,.zst" });
  const choose = (file) => file && judge(file, now, context, result);
  input.addEventListener("change", () => choose(input.files[0]));
  const drop = el(
    "div",
    {
      class: "drop",
      ondragover: (event) => {
        event.preventDefault();
        drop.classList.add("over");
      },
      ondragleave: () => drop.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        drop.classList.remove("over");
        choose(event.dataTransfer.files[0]);
      },
    },
    el("p", {}, el("label", { for: "file" }, "Drop a file here (CSV or JSON Lines, plain or packed), or choose one:")),
    input,
  );
  put(
    place,
    section(
      "Send data",
      el("p", {}, "The file is judged here by the rules of the merge. Nothing is sent until you say so."),
      drop,
      el("p", { class: "soft small" }, `Up to ${bytes(now.largest_file)}. A column is found by its heading; without a heading line the order of the contract counts.`),
    ),
    result,
    contract(now.about),
  );
}

function contract(about) {
  const limits = (column) =>
    [
      (column.allowed || []).length ? column.allowed.join(", ") : null,
      column.min !== null && column.min !== undefined ? `${column.exclusive_min ? "above" : "at least"} ${column.min}` : null,
      column.max !== null && column.max !== undefined ? `${column.exclusive_max ? "below" : "at most"} ${column.max}` : null,
      column.nullable ? "may be missing" : null,
    ].filter(Boolean).join(", ");
  return section(
    "What a row must be",
    table("in this order, or with a heading line in any order", [
      { name: "Column", cell: (column) => column.name },
      { name: "Type", cell: (column) => column.type },
      { name: "Unit", cell: (column) => column.unit || "" },
      { name: "Limits", cell: limits, wide: true },
      { name: "Meaning", cell: (column) => [column.name === about.target ? "what is predicted" : null, column.description].filter(Boolean).join("; "), wide: true },
    ], about.columns),
    about.rules.length
      ? el("p", { class: "small" }, about.rules.map((rule) => `${rule.name}: ${rule.sum.join(" + ")} at most ${rule.tolerance === 1 ? "" : `${rule.tolerance} x `}${rule.at_most}`).join("; "))
      : null,
  );
}

async function judge(file, now, context, result) {
  if (file.size > now.largest_file) {
    put(result, notice("bad", el("p", {}, `${file.name} has ${bytes(file.size)}, this page takes ${bytes(now.largest_file)}. Copy it to the landing zone: `, el("code", {}, `aws s3 cp FILE s3://BUCKET/${context.model}/new/`))));
    return;
  }
  put(result, el("p", { class: "soft" }, `Judging ${file.name}…`));
  let verdict;
  try {
    verdict = await server.upload(server.route(context.model, "checks"), file, { name: file.name });
  } catch (error) {
    put(result, notice("bad", el("p", {}, error.message)));
    return;
  }
  const sent = el("div");
  const send = el("button", { type: "button", class: "main" }, verdict.quarantined ? `Send it: ${number(verdict.accepted)} good rows count` : "Send it");
  send.addEventListener("click", async () => {
    send.disabled = true;
    try {
      const answer = await server.upload(server.route(context.model, "files"), file, { name: file.name });
      if (answer.key) await follow(answer, context, sent);
      else put(sent, notice("bad", el("p", {}, "It was not sent: the merge would take no row of it.")));
    } catch (error) {
      send.disabled = false;
      put(sent, notice("bad", el("p", {}, error.message)));
    }
  });
  put(result, said(verdict), verdict.outcome === "merged" && verdict.accepted ? el("section", {}, send, sent) : null);
  result.scrollIntoView({ block: "nearest" });
}

function said(verdict) {
  const clean = verdict.outcome === "merged" && !verdict.quarantined;
  const kind = clean ? "good" : verdict.outcome === "merged" ? "warn" : "bad";
  const words = { merged: clean ? "Every row is good" : "Some rows would be left out", refused: "The merge would refuse this file", ignored: "The merge would pass over this file" };
  const refused = verdict.outcome !== "merged";
  return section(
    verdict.file,
    notice(
      kind,
      el("p", {}, el("strong", {}, words[verdict.outcome])),
      refused ? el("p", {}, verdict.reason) : null,
      verdict.remedy ? el("p", {}, `What to do: ${verdict.remedy}`) : null,
      verdict.rows ? el("p", {}, `${number(verdict.rows)} rows: ${number(verdict.accepted)} accepted, ${number(verdict.duplicate)} repeated in the file, ${number(verdict.quarantined)} rejected. Rows that an earlier file brought already are found by the merge.`) : null,
    ),
    verdict.quarantined
      ? table("Reasons", [
          { name: "Rows", cell: ([, count]) => number(count), n: true },
          { name: "Reason", cell: ([reason]) => reason, wide: true },
        ], Object.entries(verdict.reasons))
      : null,
    verdict.first.length
      ? table(`The first ${number(verdict.first.length)} rejected lines`, [
          { name: "Line", cell: (line) => number(line.line), n: true },
          { name: "Column or rule", cell: (line) => line.column ?? "the line" },
          { name: "Value", cell: (line) => el("span", { class: "raw" }, line.value ?? "–") },
          { name: "Why", cell: (line) => line.reason, wide: true },
        ], verdict.first)
      : null,
    columns(verdict),
  );
}

function columns(verdict) {
  const other = Object.entries(verdict.columns).filter(([column, place]) => column !== place);
  if (!other.length || verdict.outcome !== "merged") return null;
  const text = other.map(([column, place]) => `${column} is ${typeof place === "number" ? `column ${place}` : `"${place}"`}`).join(", ");
  return el("p", { class: "soft small" }, `How the columns were found: ${text}.`);
}

async function follow(answer, context, place) {
  const steps = el("ol", { class: "steps" });
  const last = el("div");
  const first = answer.already_there ? "This very file was sent before" : "Sent";
  put(place, el("h3", {}, first), el("p", { class: "small" }, el("code", {}, answer.key)), steps, last);
  const line = (kind, text) => el("li", { class: kind }, text);
  const goesOn = async (fresh) => (await server.dag(context.model, fresh).catch(() => ({ runs: [] }))).runs.length > 0;
  while (context.current()) {
    const way = await server.get(server.route(context.model, "files"), { key: answer.key });
    const done = way.state === "merged";
    const undecided = done && !way.decision;
    // What the page knew seconds ago may be from before the run: that no model was judged is said of this moment only.
    const runs = (way.state === "waiting" || undecided) && ((await goesOn(false)) || (undecided && (await goesOn(true))));
    put(
      steps,
      line("done", "in the landing zone"),
      way.state === "refused" ? line("bad", `refused: ${way.reason}`) : null,
      way.state === "ignored" ? line("bad", "passed over: the merge takes it for no data") : null,
      way.state === "unknown" ? line("bad", "not in the landing zone any more: somebody removed it") : null,
      way.state === "waiting" ? line("now", runs ? "a run is under way; it, or the next one, merges the file" : "waits for a run, which starts when the file has lain unchanged for a while") : null,
      done ? line("done", `merged into version ${way.version}: ${number(way.accepted)} rows accepted, ${number(way.duplicate)} known already, ${number(way.quarantined)} rejected`) : null,
      undecided ? line(runs ? "now" : "bad", runs ? "a model is being trained and compared" : `run ${way.run_key} judged no model: look at it in Airflow`) : null,
      done && way.decision ? line("done", [badge(way.decision, decisionKind(way.decision)), ` ${way.reason}`]) : null,
    );
    if (way.decision && way.decision !== "approval waits") {
      put(last, el("p", {}, el("a", { href: `#/${context.model}/history/${way.run_key}` }, "The run and its report")));
      return;
    }
    if (["refused", "ignored", "unknown"].includes(way.state)) return;
    if (undecided && !runs) return;
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_SECONDS * 1000));
  }
}
