// Now: what serves, what waits for a person, what runs, and the way back.

import { badge, card, DASH, el, field, moment, notice, number, put, section, table } from "./dom.js";
import { alarm } from "./drift.js";
import * as server from "./server.js";

export async function show(place, context) {
  const [now, dag] = await Promise.all([
    server.get(server.route(context.model, "now")),
    server.dag(context.model).catch(() => ({ runs: [], questions: [] })),
  ]);
  put(
    place,
    el("p", {}, now.about.description || `Model ${now.about.name}`, el("span", { class: "soft" }, ` · owner ${now.about.owner}`)),
    dag.questions.map((question) => asked(question, context, now.person)),
    dag.is_paused ? notice("warn", el("p", {}, `The DAG ${context.dag} is paused: new files start no run. Unpause it in Airflow.`)) : null,
    now.incident ? alarm(now.incident, { serving: now.champion ? `v${now.champion.package}` : null }, context, "The evidence, column by column") : null,
    now.disagreement ? notice("warn", el("p", {}, now.disagreement)) : null,
    cards(now, dag),
    now.champion ? section("Why this model serves", el("p", {}, now.champion.reason), report(context, now.champion)) : first(context),
    under(dag.runs),
    back(now, context),
    server.framed ? el("p", { class: "soft small" }, "The same as a page of its own: ", el("code", {}, location.href.split("#")[0].split("?")[0])) : null,
  );
}

function cards(now, dag) {
  const { champion, endpoint, data } = now;
  const unserved = endpoint.name === null;
  const state = champion && (unserved || endpoint.status !== null) ? `model ${champion.package}` : endpoint.status === null ? "nothing" : "another model";
  const words = endpoint.status === null ? `endpoint ${endpoint.name} does not exist yet` : `endpoint ${endpoint.name}: ${endpoint.status}, since ${moment(endpoint.since)}`;
  const rows = data.rows_by_split;
  return el(
    "div",
    { class: "cards" },
    unserved ? card("Scores files", state, `no endpoint: files below ${now.about.name}/batch/in/ are scored`) : card("Serves", state, words),
    card(
      champion && champion.metric ? `${champion.metric} of ${now.about.target}` : "Error on test rows",
      champion ? number(champion.score) : DASH,
      champion && champion.test_rows ? `on ${number(champion.test_rows)} test rows, judged ${moment(champion.judged_at)}` : null,
    ),
    card("Data set", data.version ? `version ${data.version}` : "empty", data.version ? `${number(rows.train || 0)} rows to train on, ${number(rows.test || 0)} to test${data.gathering ? `; ${data.gathering}` : ""}` : null),
    card("Waits", `${data.waiting} file${data.waiting === 1 ? "" : "s"}`, `to be merged; ${data.refused} refused`),
    card("Runs", dag.runs.length ? `${dag.runs.length} now` : "none now", dag.next_dagrun_run_after ? `next by schedule ${moment(dag.next_dagrun_run_after)}` : null),
  );
}

function first(context) {
  return section(
    "No model serves yet",
    el("p", {}, "Send the first data: the run that follows trains, judges and deploys the first model."),
    el("p", {}, el("a", { href: `#/${context.model}/send` }, "Send data")),
  );
}

const report = (context, champion) =>
  champion.run_key ? el("p", {}, el("a", { href: `#/${context.model}/history/${champion.run_key}` }, `Run ${champion.run_key} and its report`)) : null;

function under(runs) {
  if (!runs.length) return null;
  return section(
    "Under way",
    table("", [
      { name: "Run", cell: (run) => run.dag_run_id },
      { name: "State", cell: (run) => badge(run.state) },
      { name: "Began", cell: (run) => moment(run.start_date) },
    ], runs),
  );
}

function asked(question, context, person) {
  const result = el("div");
  const instance = question.task_instance;
  const send = async (word) => {
    buttons.forEach((button) => (button.disabled = true));
    try {
      await server.answer(context.dag, instance.dag_run_id, instance.task_id, word);
      put(result, el("p", {}, `Your answer "${word}" is recorded. The run goes on.`));
    } catch (error) {
      buttons.forEach((button) => (button.disabled = false));
      put(result, el("p", { role: "alert" }, error.message));
    }
  };
  const buttons = question.options.map((word) =>
    el("button", { type: "button", class: word === "Approve" ? "main" : null, onclick: () => send(word) }, word),
  );
  return notice(
    "warn",
    el("h2", {}, question.subject),
    el("p", {}, question.body || ""),
    el("p", { class: "small" }, `Run ${instance.dag_run_id} waits since ${moment(question.created_at)}.`),
    person.may_act ? el("div", { class: "row" }, buttons) : el("p", {}, "Who may start the DAG can answer."),
    result,
  );
}

function back(now, context) {
  const serving = now.champion ? now.champion.package : null;
  const others = now.approved.filter((item) => item.package !== serving);
  const title = "Go back to an earlier model";
  if (!others.length) return section(title, el("p", { class: "soft" }, "There is no other approved model."));
  const list = table("Approved models, newest first", [
    { name: "Model", cell: (item) => `${item.package}` },
    { name: "Data version", cell: (item) => item.dataset_version, n: true },
    { name: others[0].metric || "Error", cell: (item) => number(item.score), n: true },
    { name: "Judged", cell: (item) => moment(item.judged_at) },
    { name: "Why it was approved", cell: (item) => item.reason, wide: true },
  ], others);
  if (!now.person.may_act) return section(title, list, el("p", { class: "soft" }, "Who may start the DAG can go back."));
  return section(title, list, rollback(now, others, context));
}

function rollback(now, others, context) {
  const which = el("select", {}, others.map((item) => el("option", { value: item.package }, `model ${item.package}`)));
  const why = el("input", { type: "text", minlength: 3, maxlength: 500, required: true, size: 40 });
  const result = el("div");
  const sure = (item) => {
    const text = `Model ${item.package} will serve in place of ${now.champion ? `model ${now.champion.package}` : "what serves"}. Newer models are rejected for good.`;
    const yes = el("button", { type: "button", class: "main", onclick: () => go(item) }, `Yes, serve model ${item.package}`);
    put(result, notice("warn", el("p", {}, text), el("div", { class: "row" }, yes, el("button", { type: "button", onclick: () => put(result) }, "Cancel"))));
    yes.focus();
  };
  const go = async (item) => {
    put(result, el("p", { class: "soft" }, "Starting…"));
    try {
      const run = await server.start(now.about.dags.rollback, { package: String(item.package), why: why.value.trim() });
      put(result, notice("good", el("p", {}, `Run ${run.dag_run_id} of ${now.about.dags.rollback} goes back to model ${item.package} and verifies it.`)));
    } catch (error) {
      put(result, notice("bad", el("p", {}, error.message)));
    }
  };
  const form = el(
    "form",
    {
      class: "row",
      onsubmit: (event) => {
        event.preventDefault();
        if (why.value.trim().length < 3) {
          put(result, notice("bad", el("p", {}, "Say why: it goes into the record, the registry and the message.")));
          return;
        }
        sure(others.find((item) => String(item.package) === which.value));
      },
    },
    field("Serve again", which),
    field("Why (goes on record)", why),
    el("button", { type: "submit" }, "Go back…"),
  );
  return [form, result];
}
