// Drift: the evidence of each look, each column against the training rows, and the incidents.

import { badge, card, DASH, el, moment, notice, number, put, section, table } from "./dom.js";
import { course, evidence, shares } from "./plots.js";
import * as server from "./server.js";

const percent = (share) => (share === null || share === undefined ? DASH : `${(100 * share).toFixed(1)} %`);
const level = (value) => (value >= 0.001 ? number(Number(value.toPrecision(2))) : "below 0.001");
const named = (column) => (column.unit ? `${column.name} (${column.unit})` : column.name);

export async function show(place, context) {
  const [chosen, version] = context.rest;
  const found = await server.get(server.route(context.model, "drift"), { version });
  const last = found.incidents[0];
  const open = last && !last.closed_at ? last : null;
  if (!found.watched || !found.looks.length) {
    put(place, open ? alarm(open, found, context) : null, unwatched(found), incidents(found));
    return;
  }
  const detail = el("div", { "aria-live": "polite" });
  const turns = { newest: 0 };
  const select = async (name, scroll = true) => {
    const turn = (turns.newest += 1);
    try {
      const one = await server.get(`${server.route(context.model, "drift", found.version)}/column`, { name });
      if (turn === turns.newest) put(detail, columnOf(one));
    } catch (error) {
      if (turn === turns.newest) put(detail, notice("bad", el("p", {}, error.message)));
    }
    if (scroll) detail.scrollIntoView({ block: "nearest" });
  };
  put(
    place,
    open ? alarm(open, found, context) : null,
    versions(found, context),
    cards(found, open),
    looks(found),
    columns(found, select),
    detail,
    incidents(found),
  );
  const first = found.columns.find((column) => column.name === chosen) || found.columns[0];
  if (first) await select(first.name, false);
}

export function alarm(open, { serving }, context, link = null) {
  const gone = serving && open.model_version !== serving;
  return notice(
    "bad",
    el("h2", {}, `Incident ${open.number} is open since ${moment(open.opened_at)}`),
    el("p", {}, `The requests have left the rows that model ${open.model_version} was trained on:`),
    el("ul", {}, open.changes.slice(0, 3).map((change) => el("li", {}, change.sentence))),
    open.changes.length > 3 ? el("p", {}, `and ${open.changes.length - 3} more, see the table of incidents.`) : null,
    el("p", {}, gone ? `Model ${serving} serves now: the next look closes the incident.` : `${open.what_to_do}.`),
    link ? el("p", {}, el("a", { href: `#/${context.model}/drift` }, link)) : null,
  );
}

function unwatched(found) {
  const what = found.watched
    ? `Model ${found.version} is watched since ${moment(found.watched.deployed_at)}, and no request to it was looked at yet.`
    : "No model was watched yet.";
  return section("Drift", el("p", {}, what), el("p", { class: "soft" }, `The DAG ${found.dag} looks at the captured requests by its schedule, or when somebody starts it.`));
}

function versions(found, context) {
  const note = found.serving && found.serving !== found.version ? `Model ${found.serving} serves; this is model ${found.version}.` : null;
  if (found.versions.length < 2) return note ? el("p", { class: "soft" }, note) : null;
  const pick = el("select", { onchange: () => (location.hash = `#/${context.model}/drift//${pick.value}`) });
  put(pick, found.versions.map((version) => el("option", { value: version, selected: version === found.version }, version === found.serving ? `${version}, serves` : version)));
  return el("div", { class: "row" }, el("label", {}, "Watched model ", pick), note ? el("span", { class: "soft" }, note) : null);
}

function cards(found, open) {
  const { watched, looks: seen } = found;
  const newest = seen[seen.length - 1], tally = watched.newest;
  return el(
    "div",
    { class: "cards" },
    card("Requests", open && open.model_version === found.version ? "drift" : "as trained", `model ${found.version}, watched since ${moment(watched.deployed_at)}`),
    card("Evidence", level(newest.level), `an incident opens at 1; a year without a change gets there with a probability of at most ${percent(1 / Math.max(1, found.years_between_false_alarms))}`),
    card("Newest look", moment(watched.looked_at), `${number(newest.rows)} rows; ${number(watched.rows)} in all looks`),
    card("Passed over", tally ? number(tally.left_out + tally.unreadable) : DASH, tally ? `in the newest look; ${number(tally.unreadable)} unreadable` : "the newest look has expired"),
  );
}

function looks({ looks: seen }) {
  return section(
    "Evidence over time",
    evidence(seen),
    el("p", { class: "soft small" }, "One point for each look, oldest left; the scale is logarithmic. Evidence gathers while a change lasts, and fades when it ends."),
    folded(
      "The looks as a table",
      table(`${seen.length} looks, newest first`, [
        { name: "Look", cell: (look) => moment(look.at) },
        { name: "Rows", cell: (look) => number(look.rows), n: true },
        { name: "Evidence", cell: (look) => level(look.level), n: true },
        { name: "Opens an incident", cell: (look) => (look.level >= 1 ? badge("yes", "bad") : "no") },
      ], [...seen].reverse()),
    ),
  );
}

function columns(found, select) {
  return section(
    "Columns of the newest look",
    table(
      `${found.columns.length} columns, the one with the most evidence first`,
      [
        { name: "Column", cell: (column) => el("button", { type: "button", class: "link", onclick: () => select(column.name) }, named(column)) },
        { name: "Mean rank", cell: (column) => (column.rank === null ? DASH : `${column.rank.toFixed(1)} %`), n: true },
        { name: "Missing", cell: (column) => percent(column.missing), n: true },
        { name: "Change", cell: (column) => (column.change ? badge(column.change, "bad") : DASH) },
        { name: "Since", cell: (column) => (column.since ? moment(column.since) : DASH) },
        { name: "Part of the evidence", cell: (column) => percent(column.share_of_evidence), n: true },
      ],
      found.columns,
    ),
    el("p", { class: "soft small" }, "The mean rank says where the new values stand among the training rows, for the prediction, the loss and the error among the validation rows: 50 % is as trained. Choose a column for its course."),
  );
}

function columnOf(one) {
  const key = (kind, text) => el("span", {}, el("span", { class: `key ${kind}` }), text);
  return section(
    named(one),
    one.course.length
      ? [
          el("h3", {}, "Mean rank of each look"),
          course(one.course),
          el("p", { class: "soft small" }, "In percent of the training rows, with two standard errors to each side; the line at 50 is as trained."),
          folded(
            "The course as a table",
            table(`${named(one)}: looks, newest first`, [
              { name: "Look", cell: (look) => moment(look.at) },
              { name: "Rows", cell: (look) => number(look.rows), n: true },
              { name: "Mean rank", cell: (look) => `${look.rank.toFixed(1)} %`, n: true },
              { name: "Two standard errors", cell: (look) => `± ${look.error.toFixed(1)}`, n: true },
            ], [...one.course].reverse()),
          ),
        ]
      : el("p", { class: "soft" }, "The course over time is kept for numbers."),
    one.ranges.length
      ? [
          el("h3", {}, "Newest look beside the training rows"),
          el("p", { class: "legend" }, key("challenger", "newest look"), key("champion", "training rows")),
          shares(one.ranges),
          el("p", { class: "soft small" }, one.missing ? `Share of the rows that have a value. Missing: ${percent(one.missing[1])}, among the training rows ${percent(one.missing[0])}.` : ""),
          folded(
            "The shares as a table",
            table(`${named(one)}: shares by range`, [
              { name: "Range", cell: (part) => part.label, wide: true },
              { name: "Newest look", cell: (part) => percent(part.now), n: true },
              { name: "Training rows", cell: (part) => percent(part.before), n: true },
            ], one.ranges),
          ),
        ]
      : el("p", { class: "soft" }, "The counts of the newest look have expired; the next look brings new ones."),
  );
}

function incidents(found) {
  return section(
    "Incidents",
    table(
      "newest first",
      [
        { name: "No.", cell: (item) => number(item.number), n: true },
        { name: "Model", cell: (item) => item.model_version },
        { name: "Opened", cell: (item) => moment(item.opened_at) },
        { name: "Closed", cell: (item) => (item.closed_at ? moment(item.closed_at) : badge("open", "bad")) },
        { name: "What changed", cell: (item) => item.changes.map((change) => el("div", {}, change.sentence)), wide: true },
        { name: "Why closed", cell: (item) => item.why_closed || DASH, wide: true },
      ],
      found.incidents,
      "There was none.",
    ),
  );
}

const folded = (title, content) => el("details", {}, el("summary", {}, title), content);
