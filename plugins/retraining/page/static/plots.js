// Plots as SVG. Each stands beside a table with the same numbers.

import { el, number, svg } from "./dom.js";

const LEFT = 56, RIGHT = 14, TOP = 14, BOTTOM = 26;

export function ticks(low, high, wanted = 5) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9; at += 1) found.push(Number((at * step).toPrecision(10)));
  return found;
}

function frame(label, height, values, count, { marks = ticks, written = String } = {}) {
  const width = Math.max(300, Math.min(1100, document.documentElement.clientWidth - 80));
  const finite = values.filter((value) => Number.isFinite(value));
  let low = Math.min(...finite), high = Math.max(...finite);
  const pad = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  low -= pad;
  high += pad;
  const y = (value) => TOP + ((high - value) / (high - low)) * (height - TOP - BOTTOM);
  const x = (at) => LEFT + ((at + 0.5) / Math.max(1, count)) * (width - LEFT - RIGHT);
  const grid = marks(low, high).map((tick) => [
    svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
    svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, written(tick)),
  ]);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label }, grid);
  return { picture, x, y, width, height };
}

function below({ x, height, width }, labels) {
  const every = Math.ceil(labels.length / Math.max(1, Math.floor((width - LEFT) / 64)));
  return labels.map((label, at) => (at % every ? null : svg("text", { x: x(at), y: height - 8, "text-anchor": "middle" }, label)));
}

const chosenBy = (select, at) => ({
  role: "button",
  tabindex: 0,
  onclick: () => select(at),
  onkeydown: (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      select(at);
    }
  },
});

// runs: challenger and champion scores of each run, in order of time.
export function scores(runs, metric, select, kindOf) {
  const values = runs.flatMap((run) => [run.challenger, run.champion]).filter((value) => value !== null);
  const made = frame(`${metric} of challenger and champion by run`, 230, values, runs.length);
  const { picture, x, y } = made;
  const path = runs.map((run, at) => (run.champion === null ? "" : `${x(at)},${y(run.champion)}`)).filter(Boolean).join(" ");
  picture.append(...below(made, runs.map((run) => `v${run.dataset_version}`)).filter(Boolean));
  if (path.includes(" ")) picture.append(svg("polyline", { class: "line champion", points: path }));
  runs.forEach((run, at) => {
    if (run.champion !== null) picture.append(svg("circle", { class: "champion-fill", cx: x(at), cy: y(run.champion), r: 3.5 }));
    if (run.challenger === null) return;
    const label = `run ${run.run_key}, ${run.decision}: challenger ${run.challenger}, champion ${run.champion ?? "none"}`;
    picture.append(
      svg("circle", { class: `${kindOf(run) || "soft"}-fill`, cx: x(at), cy: y(run.challenger), r: 6.5, "aria-label": label, ...chosenBy(select, at) }, svg("title", {}, label)),
    );
  });
  return el("figure", {}, picture);
}

// The mean difference of the losses with two standard errors to each side.
export function differences(runs, select, kindOf) {
  const known = runs.filter((run) => run.difference !== null);
  if (!known.length) return null;
  const ends = known.flatMap((run) => [run.difference - 2 * run.standard_error, run.difference + 2 * run.standard_error, 0]);
  const made = frame("difference of the losses by run", 190, ends, runs.length);
  const { picture, x, y, width } = made;
  picture.append(svg("line", { class: "zero", x1: LEFT, x2: width - RIGHT, y1: y(0), y2: y(0) }));
  picture.append(...below(made, runs.map((run) => `v${run.dataset_version}`)).filter(Boolean));
  runs.forEach((run, at) => {
    if (run.difference === null) return;
    const kind = kindOf(run) || "soft", error = 2 * run.standard_error;
    picture.append(svg("line", { class: kind, "stroke-width": 2.5, x1: x(at), x2: x(at), y1: y(run.difference - error), y2: y(run.difference + error) }));
    const label = `run ${run.run_key}: difference ${run.difference}, two standard errors ${error}`;
    picture.append(svg("circle", { class: `${kind}-fill`, cx: x(at), cy: y(run.difference), r: 5, "aria-label": label, ...chosenBy(select, at) }, svg("title", {}, label)));
  });
  return el("figure", {}, picture);
}

// Bars of rows by version: accepted, duplicate, quarantined.
export function rowsByVersion(versions) {
  const parts = [["rows_accepted", "good"], ["rows_duplicate", "soft"], ["rows_quarantined", "bad"]];
  const total = (version) => parts.reduce((sum, [part]) => sum + (version.rows[part] || 0), 0);
  const made = frame("rows of each version", 190, [0, ...versions.map(total)], versions.length);
  const { picture, x, y, width } = made;
  const wide = Math.max(3, Math.min(46, ((width - LEFT - RIGHT) / versions.length) * 0.7));
  picture.append(...below(made, versions.map((version) => `v${version.version}`)).filter(Boolean));
  versions.forEach((version, at) => {
    let base = 0;
    for (const [part, kind] of parts) {
      const count = version.rows[part] || 0;
      if (count) picture.append(svg("rect", { class: `${kind}-fill`, x: x(at) - wide / 2, width: wide, y: y(base + count), height: y(base) - y(base + count) }));
      base += count;
    }
  });
  return el("figure", {}, picture);
}

// looks: the evidence of each, on a scale of tenfold steps; 1 opens an incident.
export function evidence(looks) {
  const floor = -6, height = 200;
  const values = looks.map((look) => Math.log10(Math.max(look.level, 10 ** floor)));
  const marks = (low, high) => {
    const every = high - low > 7 ? 2 : 1;
    return Array.from({ length: 1 + Math.ceil(high) - floor }, (_, at) => floor + at).filter((tick) => tick >= low && tick <= high && tick % every === 0);
  };
  const written = (tick) => (tick < -3 ? `1e${tick}` : (10 ** tick).toLocaleString("en", { maximumFractionDigits: 3 }));
  const made = frame("evidence of each look; 1 opens an incident", height, [floor, 0.5, ...values], looks.length, { marks, written });
  const { picture, x, y, width } = made;
  picture.append(svg("line", { class: "bad", "stroke-width": 1.5, x1: LEFT, x2: width - RIGHT, y1: y(0), y2: y(0) }));
  picture.append(svg("text", { x: LEFT + 4, y: y(0) - 5 }, "an incident opens"));
  picture.append(...below(made, looks.map((look) => look.at.slice(5, 10))).filter(Boolean));
  picture.append(svg("polyline", { class: "line challenger", points: values.map((value, at) => `${x(at)},${y(value)}`).join(" ") }));
  values.forEach((value, at) => picture.append(svg("circle", { class: value >= 0 ? "bad-fill" : "challenger-fill", cx: x(at), cy: y(value), r: 4 })));
  return el("figure", {}, picture);
}

// course: the mean rank of a column at each look, in percent of the training rows, with two standard errors.
export function course(looks) {
  const ends = looks.flatMap((look) => [look.rank - look.error, look.rank + look.error, 50]);
  const made = frame("mean rank of each look", 190, ends, looks.length, { written: (tick) => `${tick} %` });
  const { picture, x, y, width } = made;
  picture.append(svg("line", { class: "champion", "stroke-width": 1.5, x1: LEFT, x2: width - RIGHT, y1: y(50), y2: y(50) }));
  picture.append(...below(made, looks.map((look) => look.at.slice(5, 10))).filter(Boolean));
  looks.forEach((look, at) => {
    picture.append(svg("line", { class: "challenger", "stroke-width": 2, x1: x(at), x2: x(at), y1: y(look.rank - look.error), y2: y(look.rank + look.error) }));
    picture.append(svg("circle", { class: "challenger-fill", cx: x(at), cy: y(look.rank), r: 4 }));
  });
  return el("figure", {}, picture);
}

// Bars of the newest look, and over each a line where the training rows are.
export function shares(ranges) {
  const written = (tick) => `${Number((100 * tick).toPrecision(3))} %`;
  const values = ranges.flatMap((part) => [part.now, part.before]);
  const made = frame("share of the rows by range", 190, [0, ...values], ranges.length, { written, marks: (low, high) => ticks(0, high) });
  const { picture, x, y, width } = made;
  const wide = Math.max(3, ((width - LEFT - RIGHT) / ranges.length) * 0.72);
  const short = (label) => (label.length > 10 ? `${label.slice(0, 9)}…` : label);
  picture.append(...below(made, ranges.map((part) => short(part.label.replace(/^above .* to /, "to ").replace("up to", "to")))).filter(Boolean));
  ranges.forEach((part, at) => {
    picture.append(svg("rect", { class: "challenger-fill", opacity: 0.6, x: x(at) - wide / 2, width: wide, y: y(part.now), height: Math.max(0, y(0) - y(part.now)) }));
    picture.append(svg("line", { class: "champion", "stroke-width": 3, x1: x(at) - wide / 2, x2: x(at) + wide / 2, y1: y(part.before), y2: y(part.before) }));
  });
  return el("figure", {}, picture);
}

// rows: predicted over actual; on the line a model is right.
export function agreement(rows, target) {
  const size = Math.max(300, Math.min(460, document.documentElement.clientWidth - 80)), values = rows.flatMap((row) => [row.actual, row.prediction]);
  let low = Math.min(...values), high = Math.max(...values);
  const pad = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  [low, high] = [low - pad, high + pad];
  const x = (value) => LEFT + ((value - low) / (high - low)) * (size - LEFT - RIGHT);
  const y = (value) => size - 40 - ((value - low) / (high - low)) * (size - 40 - TOP);
  const grid = ticks(low, high).map((tick) => [
    svg("line", { class: "axis", x1: x(low), x2: x(high), y1: y(tick), y2: y(tick) }),
    svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, String(tick)),
    svg("text", { x: x(tick), y: size - 22, "text-anchor": "middle" }, String(tick)),
  ]);
  const points = rows.map((row) => svg("circle", { class: "challenger-fill", opacity: 0.5, cx: x(row.actual), cy: y(row.prediction), r: 3.5 }, svg("title", {}, `line ${row.line}: actual ${row.actual}, predicted ${row.prediction}`)));
  const label = `predicted over actual ${target} of ${rows.length} rows`;
  const words = [svg("text", { x: x(high), y: size - 6, "text-anchor": "end" }, `actual ${target}`), svg("text", { x: LEFT, y: 10 }, `predicted ${target}`)];
  const right = svg("line", { class: "zero", x1: x(low), y1: y(low), x2: x(high), y2: y(high) });
  return el("figure", { class: "square" }, svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label }, grid, right, points, words));
}
