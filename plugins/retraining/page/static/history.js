// History: each run as a point, its decision and reason, and its report.

import { badge, decisionKind, el, moment, number, odds, put, section, table } from "./dom.js";
import { differences, scores } from "./plots.js";
import * as server from "./server.js";

// The table begins with so many runs: to lay out 200 takes a browser a tenth of a second.
const NEWEST = 50;
const kindOf = (run) => decisionKind(run.decision) || "soft";

export async function show(place, context) {
  const { runs, known } = await server.get(server.route(context.model, "history"));
  if (!runs.length) {
    put(place, section("History", el("p", { class: "soft" }, "No run has judged a model yet. Each run that does becomes a point here.")));
    return;
  }
  const detail = el("div", { "aria-live": "polite" });
  const select = (at) => {
    put(detail, one(runs[at], context));
    detail.scrollIntoView({ block: "nearest" });
  };
  const listed = el("div", {});
  const list = (most) => {
    const newest = [...runs].reverse().slice(0, most);
    const all = el("button", { type: "button", onclick: () => list(runs.length) }, `Older runs (${number(runs.length - newest.length)})`);
    put(listed, tableOf(newest, `${newest.length} of ${known} runs, newest first`, (run) => select(runs.indexOf(run))), newest.length < runs.length ? all : null);
  };
  const metric = runs[runs.length - 1].metric;
  const plots = differences(runs, select, kindOf);
  put(
    place,
    section(
      `${metric} on the test rows of each run`,
      el("p", { class: "legend" }, key("good", "challenger, promoted"), key("warn", "challenger, rejected"), key("bad", "declined or not deployed"), key("champion", "champion on the same rows")),
      scores(runs, metric, select, kindOf),
      el("p", { class: "soft small" }, "Below each point stands the version of the data set. Choose a point for the run's numbers and report. Runs have different test rows: compare within a run, not across."),
    ),
    plots
      ? section("Challenger minus champion", plots, el("p", { class: "soft small" }, "Mean difference of the losses with two standard errors to each side; below 0 the challenger is better."))
      : null,
    detail,
    section("Runs", listed),
  );
  list(NEWEST);
  const wanted = runs.findIndex((run) => run.run_key === context.rest[0]);
  if (wanted >= 0) select(wanted);
}

const tableOf = (runs, caption, select) =>
  table(
    caption,
    [
      { name: "Judged", cell: (run) => moment(run.created_at) },
      { name: "Decision", cell: (run) => badge(run.decision, decisionKind(run.decision)) },
      { name: "Data", cell: (run) => `v${run.dataset_version}` },
      { name: "Challenger", cell: (run) => number(run.challenger), n: true },
      { name: "Champion", cell: (run) => number(run.champion), n: true },
      { name: "Odds", cell: (run) => odds(run.odds), n: true },
      { name: "Test rows", cell: (run) => number(run.test_rows), n: true },
      { name: "Rows to train on", cell: (run) => number(run.train_rows), n: true },
      { name: "Run", cell: (run) => el("button", { class: "link", type: "button", onclick: () => select(run) }, run.run_key) },
    ],
    runs,
  );

const key = (kind, text) => el("span", {}, el("span", { class: `key ${kind}` }), text);

function one(run, context) {
  const address = `${server.route(context.model, "runs", run.run_key)}/report`;
  const open = el("button", { type: "button", onclick: () => open.replaceWith(el("iframe", { class: "report", src: address, sandbox: "", title: `Report of run ${run.run_key}` })) }, "Show the report");
  return section(
    `Run ${run.run_key}`,
    el("p", {}, badge(run.decision, decisionKind(run.decision)), ` ${run.reason}`),
    el("p", { class: "soft" }, `Judged ${moment(run.created_at)} on ${number(run.test_rows)} test rows; ${number(run.rows_accepted)} rows were new, ${number(run.rows_quarantined)} quarantined.`),
    server.framed ? null : el("p", {}, el("a", { href: address }, "The report as a page of its own")),
    open,
  );
}
