// Data: versions and their files, refused files and their release, and the quarantine row by row.

import { badge, bytes, DASH, el, field, moment, name, notice, number, put, section, table } from "./dom.js";
import { rowsByVersion, shares } from "./plots.js";
import * as server from "./server.js";

export async function show(place, context) {
  const data = await server.get(server.route(context.model, "data"));
  const detail = el("div", { "aria-live": "polite" });
  const reveal = (content) => {
    put(detail, content);
    detail.scrollIntoView({ block: "start" });
  };
  const opened = async (open) => {
    try {
      await open();
    } catch (error) {
      reveal(notice("bad", el("p", {}, error.message)));
    }
  };
  const rejected = (batch, column, value) => opened(() => quarantine(context, batch, reveal, { [column]: value }));
  put(
    place,
    data.waiting.length ? waiting(data) : null,
    data.refused.length ? refused(data, context, rejected) : null,
    detail,
    versions(data, (version) => opened(async () => reveal(await versionOf(context, version.version, rejected))), rejected),
    data.judgements.length ? judgements(data, rejected) : null,
  );
}

function waiting(data) {
  return section(
    "Files that wait to be merged",
    table(`${data.waiting_files} in all`, [
      { name: "File", cell: (file) => name(file.key), wide: true },
      { name: "Size", cell: (file) => bytes(file.size), n: true },
      { name: "Landed", cell: (file) => `${number(file.age_seconds)} s ago`, n: true },
    ], data.waiting),
  );
}

function refused(data, context, rejected) {
  const entry = (file) =>
    el(
      "div",
      { class: "notice bad" },
      el("h3", {}, name(file.key)),
      el("p", {}, file.reason),
      file.remedy ? el("p", {}, file.remedy) : null,
      el("p", { class: "soft small" }, `${moment(file.created_at)}, ${number(file.quarantined)} of ${number(file.rows)} rows rejected`),
      el("div", { class: "row" }, file.quarantined ? el("button", { type: "button", onclick: () => rejected(file.batch, "file", file.key) }, "Show its rows") : null),
      data.person.may_act ? release(file, context) : null,
    );
  return section(
    "Refused files",
    el("p", {}, "No row of these was merged. Fix a file and send it again, or release it to have it judged once more."),
    data.refused.map(entry),
  );
}

function release(file, context) {
  const why = el("input", { type: "text", minlength: 3, maxlength: 500, size: 34 });
  const accept = el("input", { type: "checkbox" });
  const result = el("div");
  const go = async (event) => {
    event.preventDefault();
    if (why.value.trim().length < 3) {
      put(result, el("p", { role: "alert" }, "Say why: it goes on record."));
      return;
    }
    try {
      await server.post(server.route(context.model, "releases"), { what: file.key, why: why.value.trim(), accept: accept.checked });
      const run = await server.start(context.dag, {});
      put(result, el("p", { role: "status" }, `Released. Run ${run.dag_run_id} judges it again.`));
    } catch (error) {
      put(result, el("p", { role: "alert" }, error.message));
    }
  };
  const form = el(
    "form",
    { class: "row", onsubmit: go },
    field("Why (goes on record)", why),
    el("label", {}, accept, " take its good rows however many are bad"),
    el("button", { type: "submit" }, "Release"),
  );
  return el("details", {}, el("summary", {}, "Release this file"), form, result);
}

function versions(data, files, rejected) {
  if (!data.versions.length) return section("Versions", el("p", { class: "soft" }, "The data set is empty. Send the first file."));
  const count = (part) => (version) => number(version.rows[`rows_${part}`] ?? 0);
  return section(
    "Versions of the data set",
    el("p", { class: "legend" }, ["good:accepted", "soft:duplicate", "bad:quarantined"].map((item) => el("span", {}, el("span", { class: `key ${item.split(":")[0]}` }), item.split(":")[1]))),
    rowsByVersion([...data.versions].reverse().slice(-60)),
    table(
      data.older ? "the newest 50 versions; make dataset-log lists all" : "newest first",
      [
        { name: "Version", cell: (version) => el("button", { type: "button", class: "link", onclick: () => files(version) }, `v${version.version}`) },
        { name: "Committed", cell: (version) => moment(version.created_at) },
        { name: "Files", cell: (version) => number(version.files), n: true },
        { name: "Left out", cell: (version) => number(version.left_out), n: true },
        { name: "Accepted", cell: count("accepted"), n: true },
        { name: "Duplicate", cell: count("duplicate"), n: true },
        { name: "Quarantined", cell: (version) => (version.rows.rows_quarantined ? el("button", { type: "button", class: "link", onclick: () => rejected(version.batch) }, count("quarantined")(version)) : "0"), n: true },
        { name: "Train", cell: (version) => number(version.rows_by_split.train || 0), n: true },
        { name: "Test", cell: (version) => number(version.rows_by_split.test || 0), n: true },
      ],
      data.versions,
    ),
  );
}

async function versionOf(context, number, rejected) {
  const place = server.route(context.model, "versions", number);
  const [files, held] = await Promise.all([
    server.get(place),
    server.get(`${place}/profile`).then(profileOf, (error) => section("What its rows hold", el("p", { class: "soft" }, error.message))),
  ]);
  return [filesOf(files, rejected), held];
}

function profileOf(found) {
  const both = (key) => (column) => [column.before, column.now].map((part) => (part && part[key] !== undefined && part[key] !== null ? number(Number(part[key].toPrecision(4))) : DASH)).join(" → ");
  const missing = (column) => [column.before, column.now].map((part) => (part && part.rows ? percent(part.missing / part.rows) : DASH)).join(" → ");
  const plot = el("div", { "aria-live": "polite" });
  const now = found.goes_on ? `the rows that version ${found.version} adds` : `the rows of version ${found.version}`;
  const draw = (column) => put(plot, el("h3", {}, named(column)), sharesOf(column, now, `the rows of version ${found.before}`));
  const comparable = found.columns.filter((column) => column.ranges.length);
  if (comparable.length) draw(comparable[0]);
  return section(
    "What its rows hold",
    el("p", { class: "soft small" }, found.before ? `Version ${found.before} → ${now}, all splits together.` : "There is no version before it to compare with."),
    table(`${found.columns.length} columns`, [
      { name: "Column", cell: (column) => (column.ranges.length ? el("button", { type: "button", class: "link", onclick: () => draw(column) }, named(column)) : named(column)) },
      { name: "Type", cell: (column) => column.type },
      { name: "Missing", cell: missing, n: true },
      { name: "Mean", cell: both("mean"), n: true },
      { name: "Median", cell: both("median"), n: true },
    ], found.columns),
    plot,
  );
}

function sharesOf(column, now, before) {
  const key = (kind, text) => el("span", {}, el("span", { class: `key ${kind}` }), text);
  return [
    el("p", { class: "legend" }, key("challenger", now), key("champion", before)),
    shares(column.ranges),
    el(
      "details",
      {},
      el("summary", {}, "The shares as a table"),
      table(`${named(column)}: shares by range`, [
        { name: "Range", cell: (part) => part.label, wide: true },
        { name: "New", cell: (part) => percent(part.now), n: true },
        { name: "Before", cell: (part) => percent(part.before), n: true },
      ], column.ranges),
    ),
  ];
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const named = (column) => (column.unit ? `${column.name} (${column.unit})` : column.name);

function filesOf(version, rejected) {
  return section(
    `Files of version ${version.version}`,
    table(`${version.files.length} files, made by run ${version.run_key || DASH}`, [
      { name: "File", cell: (file) => name(file.key), wide: true },
      { name: "Outcome", cell: (file) => badge(file.outcome, file.outcome === "merged" ? "good" : file.outcome === "refused" ? "bad" : "") },
      { name: "Source", cell: (file) => file.source },
      { name: "Size", cell: (file) => bytes(file.size), n: true },
      { name: "Rows", cell: (file) => number(file.rows), n: true },
      { name: "Accepted", cell: (file) => number(file.accepted), n: true },
      { name: "Quarantined", cell: (file) => (file.quarantined ? el("button", { type: "button", class: "link", onclick: () => rejected(version.batch, "file", file.key) }, number(file.quarantined)) : number(file.quarantined)), n: true },
      { name: "Why", cell: (file) => file.reason || "", wide: true },
    ], version.files),
  );
}

function judgements(data, rejected) {
  return section(
    "Batches that made no version",
    table("batches, newest first", [
      { name: "Judged", cell: (batch) => moment(batch.created_at) },
      { name: "Files", cell: (batch) => batch.files.map((file) => name(file.key)).slice(0, 5).join(", "), wide: true },
      { name: "Why", cell: (batch) => (batch.files[0] || {}).reason, wide: true },
      { name: "Rejected rows", cell: (batch) => (batch.rows.rows_quarantined ? el("button", { type: "button", class: "link", onclick: () => rejected(batch.batch) }, number(batch.rows.rows_quarantined)) : "0"), n: true },
    ], data.judgements),
  );
}

async function quarantine(context, batch, reveal, chosen) {
  const found = await server.get(server.route(context.model, "batches", batch, "reasons"));
  const option = (kind) => Object.entries(found[kind]).map(([value, count]) => el("option", { value }, `${kind === "files" ? name(value) : value} (${number(count)})`));
  const reason = el("select", {}, el("option", { value: "" }, "every reason"), option("reasons"));
  const file = el("select", {}, el("option", { value: "" }, "every file"), option("files"));
  const column = el("input", { type: "text", size: 16, maxlength: 100 });
  file.value = chosen.file || "";
  const rows = el("tbody");
  const more = el("button", { type: "button" }, "More rows");
  const status = el("p", { class: "soft small", role: "status" });
  let cursor = null, shown = 0;
  const load = async (anew) => {
    if (anew) [cursor, shown] = [null, 0], put(rows);
    more.disabled = true;
    try {
      const page = await server.get(server.route(context.model, "batches", batch, "rejected"), { reason: reason.value, file: file.value, column: column.value.trim(), cursor });
      rows.append(...page.rows.map(line));
      cursor = page.cursor;
      shown += page.rows.length;
      put(status, `${number(shown)} rows shown${cursor ? "" : ", these are all"}.`);
      more.hidden = !cursor;
    } catch (error) {
      put(status, error.message);
    }
    more.disabled = false;
  };
  [reason, file, column].forEach((input) => input.addEventListener("change", () => load(true)));
  more.addEventListener("click", () => load(false));
  const head = ["File", "Line", "Column", "Value", "Why", "The line as it came"];
  const grid = el("table", {}, el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col", class: text === "Line" ? "n" : null }, text)))), rows);
  reveal(
    section(
      `Quarantine of batch ${batch}`,
      el("p", {}, `${number(found.quarantined)} of ${number(found.rows)} rows were rejected. Fix them in the file and send it again under any name; rows that were merged already count once.`),
      el("div", { class: "row" }, field("Reason", reason), field("File", file), field("Column or rule", column)),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "rejected rows" }, grid),
      status,
      more,
    ),
  );
  await load(true);
}

function line(row) {
  return el(
    "tr",
    {},
    el("td", {}, name(row.file || "")),
    el("td", { class: "n" }, number(row.line)),
    el("td", {}, row.column ?? DASH),
    el("td", {}, el("span", { class: "raw" }, row.value ?? DASH)),
    el("td", { class: "wide" }, row.reasons.length ? row.reasons.join("; ") : row.reason),
    el("td", { class: "wide" }, el("span", { class: "raw" }, row.raw ?? DASH)),
  );
}
