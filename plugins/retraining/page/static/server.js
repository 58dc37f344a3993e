// Requests: to the page's own routes, and to Airflow's API, with the rights of the person who is logged in.

export class Refused extends Error {
  constructor(status, text, body) {
    super(text);
    this.status = status;
    this.body = body;
  }
}

export const framed = window.top !== window;

export const route = (model, ...parts) => ["models", model, ...parts].map(encodeURIComponent).join("/");

export const get = (path, query = {}) => call("GET", path + asQuery(query));

export const post = (path, body, query = {}) =>
  call("POST", path + asQuery(query), { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

export const upload = (path, file, query) =>
  call("POST", path + asQuery(query), { body: file, headers: { "Content-Type": "application/octet-stream" } });

// What several people ask for within five seconds the page answers once; who has just changed something says how long ago that was.
const CHANGED = "X-Retraining-Changed";
const CHANGED_MS = 6000;
const CHANGES_NOTHING = /\/(checks|predictions|comparisons)(\?|$)/;
let changed = -CHANGED_MS;

const api = (path) => `../api/v2/${path}`;

const airflow = {
  get: (path, query = {}) => call("GET", api(path) + asQuery(query)),
  send: (method, path, body) => call(method, api(path), { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
};

export const dags = () => airflow.get("dags", { tags: "retraining", limit: 200 });

// Whether it is paused, its next run, the runs under way and what they ask: the page finds out once for all who look.
export const dag = (model, fresh = false) => call("GET", route(model, "dag"), { headers: fresh ? { [CHANGED]: "0" } : {} });

export const run = (id, runId) => airflow.get(`dags/${id}/dagRuns/${encodeURIComponent(runId)}`);

export const tasks = async (id, runId) =>
  (await airflow.get(`dags/${id}/dagRuns/${encodeURIComponent(runId)}/taskInstances`, { limit: 200 })).task_instances;

export const start = (id, conf) => airflow.send("POST", `dags/${id}/dagRuns`, { logical_date: null, conf });

export const answer = (id, runId, task, word) =>
  airflow.send("PATCH", `dags/${id}/dagRuns/${encodeURIComponent(runId)}/taskInstances/${task}/-1/hitlDetails`, {
    chosen_options: [word],
    params_input: {},
  });

function asQuery(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

async function call(method, path, { body, headers = {} } = {}) {
  const ago = Math.floor(performance.now() - changed);
  const since = ago < CHANGED_MS ? { [CHANGED]: String(ago) } : {};
  let answer;
  try {
    answer = await fetch(path, { method, body, headers: { ...since, ...headers, "X-Retraining-Page": "1" }, credentials: "same-origin" });
  } catch {
    throw new Refused(0, "Airflow does not answer. Nothing was changed that you were not told of; try again.");
  }
  if (method !== "GET" && !CHANGES_NOTHING.test(path)) changed = performance.now();
  const text = await answer.text();
  let document = null;
  try {
    document = JSON.parse(text);
  } catch {
    document = null;
  }
  if (answer.ok) return document;
  if (answer.status === 401) throw new Refused(401, "Your session has ended. Log in to Airflow again and reload this page.");
  throw new Refused(answer.status, sentence(answer.status, document), document);
}

function sentence(status, document) {
  const detail = document && document.detail;
  if (typeof detail === "string") return status === 403 && detail === "Forbidden" ? "You have no right to do this." : detail;
  if (Array.isArray(detail) && detail.length) return detail.map((item) => `${(item.loc || []).slice(1).join(" ")}: ${item.msg}`).join("; ");
  return `Airflow answers with status ${status}.`;
}
