// The page's form: keys, the log of tools, a draft that outlives the browser, saving. Texts only ever become text nodes.
"use strict";
const page = document.getElementById("page");
const { token, batch, pair } = page.dataset;
const form = document.getElementById("form");
const errors = document.getElementById("errors");
const NAMES = { search: "Search", llm: "Assistant", code: "Code run" };
let busy = false;

async function post(action, body) {
  if (busy) return;
  busy = true;
  try {
    const sent = await fetch(`/p/${token}/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Assay-Token": token },
      body: JSON.stringify(body),
    });
    const said = await sent.json();
    if (sent.ok) {
      if (action === "answer") localStorage.removeItem(draftKey);
      location.reload();
      return;
    }
    complain(said.errors);
  } catch {
    complain([{ field: "", reason: "The page's server does not answer. Nothing is lost: start it again and save once more." }]);
  }
  busy = false;
}

function complain(list) {
  errors.textContent = list.map((e) => e.reason).join("\n");
  document.querySelectorAll("[data-field]").forEach((f) => f.classList.toggle("wrong", list.some((e) => e.field === f.dataset.field)));
}

document.getElementById("undo")?.addEventListener("click", () => post("undo", {}));
document.getElementById("again")?.addEventListener("click", () => location.reload());

// ---- the log of tools ----
const log = document.getElementById("log");
function entry(tool, values = {}) {
  const made = document.getElementById("entry").content.firstElementChild.cloneNode(true);
  made.dataset.tool = tool;
  made.setAttribute("aria-label", `Use of: ${NAMES[tool]}`);
  made.querySelector("b").textContent = NAMES[tool];
  const name = made.querySelector("[name=name]");
  if (tool === "llm") name.setAttribute("list", "assistants");
  for (const key of ["name", "asked", "said"]) made.querySelector(`[name=${key}]`).value = values[key] ?? "";
  made.querySelector(".more").addEventListener("click", () => { made.after(entry(tool)); made.nextSibling.querySelector("input").focus(); });
  made.querySelector(".less").addEventListener("click", () => {
    made.remove();
    if (!log.querySelector(`[data-tool=${tool}]`)) box(tool).checked = false;
    store();
  });
  return made;
}
const box = (tool) => form.querySelector(`[name=tool][value=${tool}]`);
function chosen(tool) {
  const on = box(tool).checked;
  if (tool === "none") {
    if (on) for (const other of Object.keys(NAMES)) if (box(other).checked) { box(other).checked = false; chosen(other); }
    return;
  }
  if (on) {
    box("none").checked = false;
    if (!log.querySelector(`[data-tool=${tool}]`)) log.append(entry(tool));
  } else log.querySelectorAll(`[data-tool=${tool}]`).forEach((e) => e.remove());
}

// ---- what the form holds ----
function held() {
  const one = (name) => form.querySelector(`[name=${name}]:checked`)?.value ?? "";
  const attributes = {};
  for (const name of ["category", "objectivity", "controversiality", "desired", "guideline"]) {
    const field = form.elements[name];
    if (field) attributes[name] = field.value;
  }
  const tools = form.querySelectorAll("[name=tool]");
  return {
    verdict: one("verdict"),
    why_undecided: one("verdict") === "undecided" ? one("why") : "",
    acknowledged: form.elements.acknowledged?.checked ?? null,
    rationale: form.elements.rationale.value,
    tools: tools.length ? [...tools].filter((t) => t.checked).map((t) => t.value) : ["none"],
    tool_log: [...form.querySelectorAll(".entry")].map((e) => ({
      tool: e.dataset.tool,
      ...Object.fromEntries([...e.querySelectorAll("input")].map((i) => [i.name, i.value])),
    })),
    attributes,
  };
}
function put(draft) {
  for (const [name, value] of [["verdict", draft.verdict], ["why", draft.why_undecided]])
    form.querySelectorAll(`[name=${name}]`).forEach((i) => { i.checked = i.value === value; });
  if (form.elements.acknowledged) form.elements.acknowledged.checked = Boolean(draft.acknowledged);
  form.elements.rationale.value = draft.rationale ?? "";
  form.querySelectorAll("[name=tool]").forEach((t) => { t.checked = draft.tools.includes(t.value); });
  if (log) log.replaceChildren(...draft.tool_log.map((e) => entry(e.tool, e)));
  for (const [name, value] of Object.entries(draft.attributes ?? {})) if (form.elements[name]) form.elements[name].value = value;
  shown();
}
const draftKey = `assay ${token} ${batch} ${pair}`;
const store = () => localStorage.setItem(draftKey, JSON.stringify(held()));

function shown() {
  const verdict = form.querySelector("[name=verdict]:checked")?.value;
  document.getElementById("why").hidden = verdict !== "undecided";
  for (const n of [1, 2]) document.getElementById(`candidate_${n}`).classList.toggle("picked", verdict === `candidate_${n}`);
}
function save() {
  store();
  post("answer", { batch, pair_id: pair, ...held() });
}

if (form) {
  const draft = localStorage.getItem(draftKey) || page.dataset.draft;
  if (draft) try { put(JSON.parse(draft)); } catch { localStorage.removeItem(draftKey); }
  shown();
  form.addEventListener("submit", (e) => { e.preventDefault(); save(); });
  form.addEventListener("input", (e) => {
    if (e.target.name === "tool") chosen(e.target.value);
    shown();
    store();
  });
  const view = document.getElementById("view");
  const raw = (on) => {
    document.body.classList.toggle("as-written", on);
    view.setAttribute("aria-pressed", on);
    localStorage.setItem("assay view", on ? "raw" : "");
  };
  raw(localStorage.getItem("assay view") === "raw");
  view.addEventListener("click", () => raw(!document.body.classList.contains("as-written")));
  const keys = document.getElementById("keys");
  keys.addEventListener("click", () => {
    const help = document.getElementById("help");
    help.hidden = !help.hidden;
    keys.setAttribute("aria-expanded", !help.hidden);
  });
  const press = (selector) => form.querySelector(selector)?.click();
  const tool = (name) => {
    if (!box(name)) return;
    box(name).click();
    if (box(name).checked) [...log.querySelectorAll(`[data-tool=${name}]`)].pop()?.querySelector("input").focus();
  };
  const why = (name) => { if (!document.getElementById("why").hidden) press(`[name=why][value=${name}]`); };
  const KEYS = {
    1: () => press("[value=candidate_1]"), 2: () => press("[value=candidate_2]"), 0: () => press("[value=undecided]"),
    t: () => why("tie"), m: () => why("missing"), x: () => why("not_mine"),
    g: () => press("[name=acknowledged]"), n: () => box("none")?.click(),
    s: () => tool("search"), l: () => tool("llm"), c: () => tool("code"),
    r: () => form.elements.rationale.focus(), f: () => view.click(),
    h: () => { const g = document.getElementById("guideline"); if (g) g.open = !g.open; },
    u: () => { const b = document.getElementById("undo"); if (!b.disabled) b.click(); },
    "?": () => keys.click(), Enter: save,
  };
  document.addEventListener("keydown", (e) => {
    const at = e.target;
    const writes = at.matches("textarea, select, input:not([type=checkbox]):not([type=radio])");
    if (e.key === "Escape" && writes) return at.blur();
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); return save(); }
    if (writes || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Enter" && at.matches("button, summary, a")) return;
    const act = KEYS[e.key];
    if (act) { e.preventDefault(); act(); }
  });
} else {
  document.addEventListener("keydown", (e) => { if (e.key === "u" && !e.ctrlKey) document.getElementById("undo")?.click(); });
}
