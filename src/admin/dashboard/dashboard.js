// The dashboard: what is, once a second, and the changes that an operator makes most. It knows nothing that the
// API does not tell, and does nothing that a script could not. Every change is shown before it is made, and made
// only if nobody has changed anything in between.

const POLL_MS = 1000;
const SAMPLES = 60;
const REVISIONS = 12;

const $ = (id) => document.getElementById(id);
const seen = { status: null, revisions: [], diffs: {}, rates: {} };

// ---- calls

class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the answer was ${status}`);
    this.status = status;
  }
}

async function call(method, path, { body, headers = {} } = {}) {
  const token = sessionStorage.getItem("token");
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: JSON.stringify(body), cache: "no-store" });
  const json = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, json);
  return json;
}

const at = (service, rest = "") => `/v1/services/${encodeURIComponent(service)}${rest}`;

// ---- a page of elements: made anew from what is known, and patched into what is shown, so that focus, selection
// and a click that has begun stay

const SVG = new Set(["svg", "rect", "circle", "polyline", "title"]);

function el(name, attributes = {}, ...children) {
  const made = SVG.has(name)
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function patch(shown, made) {
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== made.data) shown.data = made.data;
    return;
  }
  for (const { name } of [...shown.attributes]) if (!made.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of made.attributes) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  const wanted = [...made.childNodes];
  while (shown.childNodes.length > wanted.length) shown.lastChild.remove();
  wanted.forEach((child, place) => {
    const there = shown.childNodes[place];
    if (!there) shown.append(child);
    else if (there.nodeName === child.nodeName && there.nodeType === child.nodeType) patch(there, child);
    else there.replaceWith(child);
  });
}

// ---- what is shown

const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)} %`;
const count = (number) => Math.round(number).toLocaleString("en");
const millis = (ms) => (ms === null ? "–" : ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);
const weight = (value) => `${+value.toFixed(2)} %`;
const badge = (kind, text, title) => el("span", { class: `badge ${kind}`, title }, text);

function button(text, act, data, disabled = false) {
  const named = Object.fromEntries(Object.entries(data).map(([key, value]) => [`data-${key}`, value]));
  return el("button", { type: "button", "data-act": act, ...named, disabled }, text);
}

const TABLES = {
  versions: ["version", "weight", "health", "*req/s", "", "*errors", "*p50", "*p99", "*in flight", ""],
  revisions: ["*revision", "when", "who", "what", "reason"],
  fields: ["field", "verdict", "*differences", "*of compared"],
};

function table(kind, rows) {
  const head = TABLES[kind].map((name) =>
    el("th", { scope: "col", class: name.startsWith("*") && "number" }, name.replace("*", "")));
  const cell = (content, place) => el("td", { class: TABLES[kind][place].startsWith("*") && "number" }, content);
  const body = rows.map(({ id, cells }) => el("tr", { id }, cells.map(cell)));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

function spark(values) {
  const top = Math.max(1, ...values);
  const points = values.map((value, place) => `${(place * 100) / (SAMPLES - 1)},${19 - (18 * value) / top}`);
  return el("svg", { class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    el("polyline", { points: points.join(" ") }));
}

function split(shares) {
  let from = 0;
  const parts = shares.map(([name, share, place]) => {
    const part = el("rect", { class: `v${place % 6}`, x: from, y: 0, width: share, height: 1 },
      el("title", {}, `${name} ${weight(share)}`));
    from += share;
    return part;
  });
  const label = shares.filter(([, share]) => share > 0).map(([name, share]) => `${name} ${weight(share)}`).join(", ");
  return el("svg", { class: "split", viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": label },
    parts);
}

function health({ endpoints, draining }) {
  const up = endpoints.filter(({ healthy, ejected }) => healthy && !ejected).length;
  const kind = up === endpoints.length ? "good" : up > 0 ? "warn" : "bad";
  const each = endpoints.map(({ address, state, ejected }) => `${address} ${ejected ? "ejected" : state}`).join("\n");
  return [el("span", { class: kind, title: each }, `${up}/${endpoints.length} up`), draining && " draining"];
}

function versionRow(of, name, place) {
  const { service, live, versions } = of;
  const version = versions[name];
  const shadow = live.shadow?.version === name;
  const rates = seen.rates[`${service} ${name}`] ?? [];
  const has_all = version.weight_percent === 100;
  return {
    id: `version-${service}-${name}`,
    cells: [
      [el("svg", { class: "dot", viewBox: "0 0 2 2", "aria-hidden": "true" },
        el("circle", { class: `v${place % 6}`, cx: 1, cy: 1, r: 1 })), name],
      shadow ? `shadow of ${weight(live.shadow.percent)}` : weight(version.weight_percent),
      health(version),
      count(version.requests_per_second),
      spark(rates),
      el("span", { class: version.error_rate > 0 ? "bad" : "quiet" }, percent(version.error_rate)),
      millis(version.p50_ms),
      millis(version.p99_ms),
      count(version.in_flight),
      button("Cut over", "cutover", { service, version: name }, has_all),
    ],
  };
}

function rolloutPart(service, rollout) {
  if (!rollout) return null;
  const { state, to, step, steps, verdict, reason, void: nothing, gate, waits_for, weight_percent, evidence } = rollout;
  const open = state === "running" || state === "paused";
  const kind = { succeeded: "good", rolled_back: "bad", aborted: "warn" }[state] ?? "quiet";
  const says = { regressed: "bad", suspect: "warn", safe: "good" }[verdict] ?? "quiet";
  const acts = [
    state === "running" && !rollout.manual && button("Pause", "rollout", { service, verb: "pause" }),
    (state === "paused" || rollout.manual) && button("Go on", "rollout", { service, verb: "resume" }),
    open && button("Promote", "rollout", { service, verb: "promote" }),
    open && button("Abort", "rollout", { service, verb: "abort" }),
  ];
  return [
    el("h3", {}, `Rollout to ${to} `, badge(kind, state.replace("_", " ")), " ", open && badge(says, verdict)),
    el("p", {}, `${weight(weight_percent)} now; step ${step} of ${steps.length}: ${steps.map(weight).join(", ")}. `, reason),
    nothing && el("p", { class: "warn" }, nothing),
    gate && el("p", { class: "warn" }, gate),
    open && waits_for.length > 0 && el("p", { class: "quiet" }, `Waits for: ${waits_for.join(", ")}`),
    el("ul", {}, Object.values(evidence).map(({ text }) => el("li", {}, text))),
    open && el("menu", {}, acts),
  ];
}

function diffsPart(service, shadow) {
  const report = seen.diffs[service];
  if (!shadow || !report) return null;
  const rows = report.fields.slice(0, 8).map(({ field, verdict, differences, rate }) => {
    const kind = { regressed: "bad", undecided: "warn" }[verdict] ?? "quiet";
    return { cells: [el("code", {}, field), badge(kind, verdict), count(differences), percent(rate)] };
  });
  const { compared, mismatched, mismatch_rate, failed, dropped } = report;
  return [
    el("h3", {}, `Shadow ${report.shadow}`),
    el("p", {}, `${count(compared)} compared, ${count(mismatched)} mismatched (${percent(mismatch_rate)}), `
      + `${count(failed)} failed, ${count(dropped)} dropped`),
    rows.length > 0 && table("fields", rows),
  ];
}

function servicePart(of) {
  const { service, live, drift, rollback_ready, versions, rollout } = of;
  const names = Object.keys(versions);
  const hold = live.hold;
  return el("section", { id: `service-${service}` },
    el("header", {},
      el("h2", {}, service),
      drift && badge("warn", "not as in the file", "Live traffic differs from the file; `tidegate export` writes it back"),
      hold && badge("warn", `held: ${hold.waiting ?? 0} wait`),
      el("menu", {},
        button("Weights …", "weights", { service }),
        button("Roll back …", "rollback", { service }, !rollback_ready),
        (!rollout || !["running", "paused"].includes(rollout.state))
          && button("Start rollout …", "start", { service }, names.length < 2))),
    split(names.map((name, place) => [name, versions[name].weight_percent, place])),
    table("versions", names.map((name, place) => versionRow(of, name, place))),
    rolloutPart(service, rollout),
    diffsPart(service, live.shadow));
}

function revisionsPart() {
  const rows = seen.revisions.map(({ revision, at: when, author, cause, reason, changes }) => ({
    cells: [revision, el("time", { datetime: when }, new Date(when).toLocaleString()), author,
      changes.length > 0 ? changes.map(({ text }) => text).join("; ") : cause, reason ?? ""],
  }));
  return el("section", { id: "revisions" }, el("h2", {}, "Revisions"), table("revisions", rows));
}

function show() {
  const { phase, revision, version, config, services } = seen.status;
  const wrong = !config.valid && el("section", { id: "invalid" },
    el("h2", { class: "bad" }, "The configuration file is not valid; what ran before goes on"),
    el("pre", {}, config.rendered));
  patch($("main"), el("main", { id: "main" }, wrong, services.map(servicePart), revisionsPart()));
  $("state").className = phase === "running" ? "" : "warn";
  $("state").textContent = `${phase} · revision ${revision} · ${config.path} · ${version}`;
}

// ---- what is known

function note({ services }) {
  for (const { service, versions } of services) {
    for (const [name, { requests_per_second }] of Object.entries(versions)) {
      const rates = (seen.rates[`${service} ${name}`] ??= []);
      rates.push(requests_per_second);
      rates.splice(0, rates.length - SAMPLES);
    }
  }
}

async function look() {
  const before = seen.status?.revision;
  const status = await call("GET", "/v1/status");
  seen.status = status;
  note(status);
  if (before !== status.revision) seen.revisions = await call("GET", `/v1/revisions?limit=${REVISIONS}`);
  for (const { service, live } of status.services) {
    // A shadow may have been stopped since.
    if (live.shadow) seen.diffs[service] = await call("GET", at(service, "/diffs")).catch(() => null);
  }
  $("entry").hidden = true;
  show();
}

async function follow() {
  for (;;) {
    if (!document.hidden) {
      await look().catch((error) => {
        $("entry").hidden = error.status !== 401;
        $("state").className = "bad";
        $("state").textContent = error instanceof Refused
          ? error.message
          : "The proxy does not answer; what is shown may be old";
      });
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

// ---- changes

let order = null;

const said = (text, kind) => el("p", { class: kind }, text);

// Shows what the order would do, and remembers the revision that this is true of. Answers may come in another order
// than they were asked for: only the last one counts.
async function plan() {
  const asked = order;
  const turn = ++asked.turn;
  const is_last = () => order === asked && asked.turn === turn;
  asked.revision = null;
  $("confirm").disabled = true;
  try {
    const answer = await call(asked.method, `${asked.path}?dry_run=true`, { body: asked.body() });
    if (!is_last()) return;
    const moves = answer.moves.map(({ from, to, percent: share }) => `${weight(share)} of the users: ${from} → ${to}`);
    const lines = answer.unchanged ? ["All is so already."] : [...answer.changes.map(({ text }) => text), ...moves];
    $("plan").replaceChildren(el("ul", {}, lines.map((line) => el("li", {}, line))));
    asked.revision = answer.revision;
    $("confirm").disabled = answer.unchanged;
  } catch (error) {
    if (is_last()) $("plan").replaceChildren(said(error.message, "bad"));
  }
}

function ask(question, wanted, fields = []) {
  order = { method: "POST", body: () => undefined, revision: null, turn: 0, ...wanted };
  $("question").textContent = question;
  $("fields").replaceChildren(...fields);
  $("reason").value = "";
  $("dialog").showModal();
  plan();
}

async function give() {
  const given = order;
  // What was not shown is not done.
  if (given.revision === null) return;
  const headers = { "if-match": `"${given.revision}"` };
  const reason = $("reason").value.trim();
  // As bytes of UTF-8, which is what the API reads: a script may send no other characters in a field.
  if (reason) headers["x-reason"] = String.fromCharCode(...new TextEncoder().encode(reason));
  $("confirm").disabled = true;
  try {
    await call(given.method, given.path, { body: given.body(), headers });
    $("dialog").close();
    await look();
  } catch (error) {
    if (error.status === 412) {
      await plan();
      $("plan").prepend(said("Somebody changed something meanwhile. This is what it would do now:", "warn"));
    } else {
      $("plan").replaceChildren(said(error.message, "bad"));
      $("confirm").disabled = false;
    }
  }
}

const field = (label, input) => el("label", {}, `${label} `, input);

const ACTS = {
  cutover({ service, version }) {
    const force = el("input", { type: "checkbox", id: "force" });
    const body = () => ({ to: version, force: force.checked });
    ask(`All of ${service} to ${version}?`, { path: at(service, "/cutover"), body },
      [el("label", {}, force, " even if it is not healthy")]);
  },
  rollback({ service }) {
    ask(`${service} back to the traffic before?`, { path: at(service, "/rollback") });
  },
  weights({ service }) {
    const { weights } = seen.status.services.find((one) => one.service === service).live;
    const inputs = Object.entries(weights).map(([name, value]) =>
      [name, el("input", { type: "number", min: 0, step: 1, value, required: true, "data-version": name })]);
    const body = () => Object.fromEntries(inputs.map(([name, input]) => [name, input.valueAsNumber || 0]));
    ask(`Weights of ${service}`, { method: "PUT", path: at(service, "/weights"), body },
      inputs.map(([name, input]) => field(name, input)));
  },
  start({ service }) {
    const again = el("input", { type: "checkbox", id: "acknowledge" });
    const to = el("input", { id: "to", placeholder: "as in the file" });
    const body = () => ({ ...(to.value.trim() && { to: to.value.trim() }), ...(again.checked && { acknowledge: true }) });
    ask(`Start a rollout of ${service}?`, { method: "PUT", path: at(service, "/rollout"), body },
      [field("To version", to), el("label", {}, again, " although the last one was rolled back")]);
  },
  rollout({ service, verb }) {
    const what = { pause: "Pause", resume: "Go on with", promote: "Everyone at once: promote", abort: "Abort" }[verb];
    ask(`${what} the rollout of ${service}?`, { path: at(service, `/rollout/${verb}`) });
  },
};

document.addEventListener("click", ({ target }) => {
  const pressed = target.closest("button[data-act]");
  if (pressed && !pressed.disabled) ACTS[pressed.dataset.act](pressed.dataset);
});
$("fields").addEventListener("input", plan);
$("order").addEventListener("submit", (event) => {
  event.preventDefault();
  give();
});
$("cancel").addEventListener("click", () => $("dialog").close());
$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  look().catch(() => {});
});

follow();
