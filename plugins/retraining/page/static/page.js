// The shell: which model, which view, light or dark; each view is a module of its own.

import { el, notice, put } from "./dom.js";
import * as server from "./server.js";

const VIEWS = {
  now: { title: "Now", load: () => import("./now.js") },
  history: { title: "History", load: () => import("./history.js") },
  data: { title: "Data", load: () => import("./data.js") },
  drift: { title: "Drift", load: () => import("./drift.js") },
  send: { title: "Send data", load: () => import("./send.js") },
  try: { title: "Try it", load: () => import("./try.js") },
};
const main = document.getElementById("main");
const picker = document.getElementById("model");
let models = [];
let shown = 0;

function theme() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme") || localStorage.getItem("chakra-ui-color-mode");
  } catch {
    chosen = null; // storage is switched off
  }
  const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function place() {
  const [, model, view, ...rest] = decodeURIComponent(location.hash).split("/");
  const known = models.find((item) => item.name === model) || models[0];
  return { model: known, view: VIEWS[view] ? view : "now", rest };
}

const hashOf = (model, view) => `#/${encodeURIComponent(model)}/${view}`;

async function show() {
  const turn = (shown += 1);
  const { model, view, rest } = place();
  if (!model) return;
  picker.value = model.name;
  const links = Object.entries(VIEWS).map(([key, item]) =>
    el("a", { href: hashOf(model.name, key), "aria-current": key === view ? "page" : null }, item.title),
  );
  put(document.getElementById("views"), links);
  document.title = `${model.name}: ${VIEWS[view].title} – Retraining`;
  put(main, el("p", { class: "soft" }, "Loading…"));
  const place_ = el("div");
  const current = () => turn === shown;
  try {
    const module = await VIEWS[view].load();
    await module.show(place_, { model: model.name, dag: model.dag, rest, current, again: show });
    if (current()) put(main, place_);
  } catch (error) {
    if (current()) put(main, notice("bad", el("p", {}, error.message)));
  }
}

async function begin() {
  theme();
  addEventListener("storage", theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
  try {
    const found = await server.dags();
    models = found.dags
      .map((dag) => ({ dag: dag.dag_id, name: (dag.tags || []).map((tag) => tag.name).find((tag) => tag !== "retraining") }))
      .filter((item) => item.name)
      .sort((one, other) => one.name.localeCompare(other.name));
  } catch (error) {
    put(main, notice("bad", el("p", {}, error.message)));
    return;
  }
  if (!models.length) {
    put(main, notice("warn", el("p", {}, "You may see no retraining DAG. Ask who runs this Airflow for the right to see your model's DAG.")));
    return;
  }
  put(picker, models.map((item) => el("option", { value: item.name }, item.name)));
  picker.addEventListener("change", () => {
    location.hash = hashOf(picker.value, place().view);
  });
  const wanted = new URLSearchParams(location.search).get("dag");
  const fitting = models.filter((item) => wanted && wanted.replaceAll("_", "-").startsWith(`${item.name}-`));
  const own = fitting.sort((one, other) => other.name.length - one.name.length)[0]; // a name may begin with another one
  if (own && !location.hash) history.replaceState(null, "", hashOf(own.name, "now"));
  addEventListener("hashchange", () => {
    main.focus({ preventScroll: true });
    show();
  });
  await show();
}

begin();
