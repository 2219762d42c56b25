"use strict";
// Draws what the server says and sends what a visitor does; nothing is decided here. Only what changed is drawn again.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const el = (tag, cls, ...inside) => { const n = document.createElement(tag); if (cls) n.className = cls; n.append(...inside); return n; };
function icon(name, cls) {
  const s = document.createElementNS(SVG, "svg"), use = document.createElementNS(SVG, "use");
  s.setAttribute("aria-hidden", "true"); use.setAttribute("href", "#" + name); s.append(use);
  if (cls || name === "i-checking") s.setAttribute("class", [cls, name === "i-checking" && "spin"].filter(Boolean).join(" "));
  return s;
}
const initials = (name) => name.split(" ").map((w) => w[0]).join("").slice(0, 2);
const ANSWER = { yes: "Yes", no: "No", not_yet: "Not yet", cannot_tell: "Cannot tell", checking: "Checking" };
const TONE = { bad: "tb", good: "tg", odd: "to" };
const HEAD = {
  hourglass_flowing_sand: ["i-clock", ""], arrows_counterclockwise: ["i-checking", ""], mag: ["i-checking", ""], white_check_mark: ["i-yes", "tg"], x: ["i-no", "tb"],
  no_entry: ["i-no", "tb"], grey_question: ["i-cannot_tell", "to"], raising_hand: ["i-person", ""], rotating_light: ["i-alarm", ""], black_square_for_stop: ["i-stop", ""], information_source: ["i-info", ""],
};
let me = "U0ANA", scene = null, story = null, people = [], channel = null, series = [], ratio = 0;

// ── Block Kit ──
const plain = (t) => t.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
const named = (id) => scene.people[id] || (id === scene.bot ? "Lastgood" : id);
function link(url, text) {
  const a = el("a", "", text); a.target = "_blank"; a.rel = "noopener";
  if (/^https?:/.test(url)) a.href = url;
  return a;
}
function piece(p) {
  if (/^<@/.test(p)) return el("b", "", "@" + named(p.slice(2, -1).split("|")[0]));
  if (/^<!date/.test(p)) { const [, at, format] = p.split("^"); return (/\{date/.test(format) ? dm(+at) + " " : "") + hm(+at); }
  if (/^<http/.test(p)) { const [url, text] = p.slice(1, -1).split("|"); return link(plain(url), plain(text || url)); }
  if (/^\*.+\*$/.test(p)) return el("b", "", ...marked(p.slice(1, -1)));
  if (/^`.+`$/.test(p)) { const text = plain(p.slice(1, -1)); return el("code", /^[▁-█]+$/.test(text) ? "spark" : "", text); }
  return plain(p);
}
const marked = (text) => text.split(/(<[^>]+>|\*[^*\n]+\*|`[^`\n]+`)/).filter(Boolean).map(piece);
function mrkdwn(text) {
  const box = el("div", "blk");
  for (const line of text.split("\n")) {
    const place = /^[☑☐] /.test(line), ok = line[0] === "☑";
    box.append(place ? el("div", "need" + (ok ? " ok" : ""), icon(ok ? "i-tick" : "i-box"), el("span", "", el("span", "sr", ok ? "done: " : "open: "), ...marked(line.slice(2)))) : el("div", "ln", ...marked(line)));
  }
  return box;
}
function button(e, ts) {
  const n = e.url ? link(e.url, e.text.text) : el("button", "", e.text.text);
  n.className = "btn" + (e.style === "primary" ? " primary" : ""); n.dataset.key = ts + e.action_id; n.dataset.action = e.action_id;
  if (e.accessibility_label) n.setAttribute("aria-label", e.text.text + ": " + e.accessibility_label);
  if (!e.url) { n.type = "button"; n.onclick = () => pressed(e, ts); }
  return n;
}
const ACTS = { button, overflow: more, static_select: more };
function block(b, ts) {
  if (b.type === "header") {
    const [, emoji, text] = b.text.text.match(/^(?::(\w+):\s*)?(.*)$/s), [shape, tone] = HEAD[emoji] || [];
    return el("h3", "", ...(shape ? [icon(shape, tone)] : []), el("span", "", text));
  }
  if (b.type === "actions") return el("div", "acts", ...b.elements.filter((e) => ACTS[e.type]).map((e) => ACTS[e.type](e, ts)));
  if (b.type === "image") return el("div", "ctx", b.alt_text);
  if (b.fields) return el("div", "fields", ...b.fields.map((f) => mrkdwn(f.text)));
  if (b.type === "context") return el("div", "ctx", ...b.elements.map((e) => mrkdwn(e.text || "")));
  if (!b.text) return el("div");
  return b.text.type === "plain_text" ? el("div", "blk", b.text.text) : mrkdwn(b.text.text);
}

// ── the menu of a card: one for all, above everything, so that nothing cuts it off ──
const menu = $("menu");
let menuKey = "", wasOpen = false;
function more(e, ts) {
  const n = el("button", "btn", "More"), key = ts + e.action_id;
  n.type = "button"; n.dataset.key = key; n.dataset.action = e.action_id;
  n.setAttribute("aria-haspopup", "menu"); n.setAttribute("aria-controls", "menu"); n.setAttribute("aria-expanded", menuKey === key);
  n.onpointerdown = () => { wasOpen = menuKey === key; };
  n.onclick = () => { if (!wasOpen) opened(e, ts, 0); wasOpen = false; };
  n.onkeydown = (k) => { const at = { ArrowDown: 0, ArrowUp: -1 }[k.key]; if (at !== undefined) { k.preventDefault(); opened(e, ts, at); } };
  return n;
}
function opened(e, ts, at) {
  menu.replaceChildren(...e.options.map((o) => {
    const item = el("button", "", o.text.text);
    item.type = "button"; item.tabIndex = -1; item.setAttribute("role", "menuitem"); item.dataset.value = o.value;
    item.onclick = () => { shut(); pressed(e, ts, o.value); };
    return item;
  }));
  menuKey = ts + e.action_id; menu.showPopover(); put(); menu.children[at < 0 ? menu.children.length - 1 : at].focus();
}
function shut() { const back = keyed(menuKey) || box; menu.hidePopover(); back.focus({ preventScroll: true }); }
function put() {
  if (!menuKey) return;
  const at = keyed(menuKey);
  if (!at) return shut();
  const r = at.getBoundingClientRect(), h = menu.offsetHeight, down = r.bottom + 6;
  at.setAttribute("aria-expanded", "true");
  menu.style.left = Math.max(8, Math.min(r.left, innerWidth - menu.offsetWidth - 8)) + "px";
  menu.style.top = Math.max(8, down + h <= innerHeight - 8 ? down : r.top - 6 - h) + "px";
}
menu.onbeforetoggle = (ev) => { if (ev.newState === "closed") { const at = keyed(menuKey); if (at) at.setAttribute("aria-expanded", "false"); menuKey = ""; } };
menu.onkeydown = (k) => {
  const items = [...menu.children], i = items.indexOf(document.activeElement), n = items.length;
  if (k.key === "Escape" || k.key === "Tab") { if (k.key === "Escape") k.preventDefault(); return shut(); }
  const from = [...items.slice(i + 1), ...items.slice(0, i + 1)], typed = from.find((o) => o.textContent[0].toLowerCase() === k.key.toLowerCase());
  const to = items[{ ArrowDown: (i + 1) % n, ArrowUp: (i - 1 + n) % n, Home: 0, End: n - 1 }[k.key]] || typed;
  if (to) { k.preventDefault(); to.focus(); }
};
addEventListener("scroll", put, true);
addEventListener("resize", put);

// ── channel ──
function reply(r) {
  const said = r.files.length ? r.files.map((f) => el("span", "file", icon("i-file"), f)) : [mrkdwn(r.text || "")];
  return el("li", "", el("time", "", hm(+r.ts)), el("div", "", ...said));
}
function message(m) {
  const bot = m.user === scene.bot, name = named(m.user);
  const face = el("span", "av lg" + (bot ? " bot" : ""), bot ? icon("mark") : initials(name));
  face.setAttribute("aria-hidden", "true");
  const body = el("div", "body", ...(m.blocks ? m.blocks.map((b) => block(b, m.ts)) : [mrkdwn(m.text || "")]));
  if (m.thread.length) body.append(el("div", "thread", el("b", "", m.thread.length + (m.thread.length > 1 ? " replies" : " reply")), el("ol", "", ...m.thread.map(reply))));
  return el("article", "msg" + (bot ? "" : " said"), face, el("div", "meta", el("b", "", name), ...(bot ? [el("span", "app", "app")] : []), el("span", "num", hm(+m.ts))), body);
}
function whisper(w) {
  return el("div", "eph", el("div", "only", icon("i-eye"), `Only ${named(me).split(" ")[0]} sees this`), ...(w.blocks ? w.blocks.map((b) => block(b, w.ts)) : [mrkdwn(w.text || "")]));
}
const box = $("msgs");
const hovered = () => keyed(menuKey) || [...box.querySelectorAll("[data-key]")].find((n) => n.matches(":hover") || n === document.activeElement);
const keyed = (key) => key && [...box.querySelectorAll("[data-key]")].find((n) => n.dataset.key === key);
const scroller = () => (getComputedStyle(box).overflowY === "auto" ? box : document.scrollingElement);
let heard = new Set();
// A button under the pointer or in focus stays where it is, whatever grows above it.
function drawChannel() {
  if (!channel || !scene) return;
  const held = hovered(), key = held && held.dataset.key, top = held && held.getBoundingClientRect().top, focused = held && held === document.activeElement;
  const told = channel.whispers.filter((w) => w.user === me), rows = [...channel.messages, ...told];
  const known = new Map([...box.children].map((n) => [n.dataset.id, n])), kept = [];
  for (const one of rows) {
    const id = one.ts, json = JSON.stringify(one);
    let node = known.get(id);
    if (!node || node.json !== json) { const fresh = told.includes(one) ? whisper(one) : message(one); fresh.dataset.id = id; fresh.json = json; if (node) node.replaceWith(fresh); node = fresh; }
    kept.push(node);
  }
  for (const n of [...box.children]) if (!kept.includes(n)) n.remove();
  kept.forEach((n, i) => { if (box.children[i] !== n) box.insertBefore(n, box.children[i] || null); });
  const again = keyed(key);
  if (again) { if (focused) again.focus({ preventScroll: true }); scroller().scrollTop += again.getBoundingClientRect().top - top; }
  put();
  const news = told.filter((w) => !heard.has(w.ts)), first = heard.size === 0;
  channel.whispers.forEach((w) => heard.add(w.ts)); heard.add("");
  if (news.length && !first) { box.querySelector(`[data-id="${news[news.length - 1].ts}"]`).scrollIntoView({ block: "nearest" }); announce(news.map((w) => plain(w.text || "")).join(" ")); }
}

// ── what a visitor does ──
async function post(path, body) {
  let answer = { error: "The demo does not answer. Is it still running?" };
  try {
    const r = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user: me, ...body }) });
    answer = r.ok ? await r.json() : { error: await r.text() };
  } catch { /* the sentence above says it */ }
  $("fault").hidden = !answer.error; $("fault").textContent = answer.error || "";
  return answer;
}
async function pressed(e, ts, value = "") {
  const key = ts + e.action_id, c = e.confirm;
  if (c && !(await asked({ title: c.title.text, blocks: [{ type: "section", text: c.text }], yes: c.confirm.text, no: c.deny.text }, key))) return;
  const n = keyed(key);
  if (n) n.setAttribute("aria-busy", "true");
  const answer = await post("/press", { action: e.action_id, ts, value });
  if (n) n.removeAttribute("aria-busy");
  if (answer.view) await filled(answer.view, key);
}
// The modal is the one the bot opened: its title, its fields, its words; what is filled in goes back as a submission.
async function filled(view, key) {
  const submit = (values) => post("/submit", { view: view.id, values });
  const words = { title: view.title.text, blocks: view.blocks, yes: view.submit && view.submit.text, no: view.close ? view.close.text : "Not now", submit };
  if (!(await asked(words, key))) await post("/dismiss", { view: view.id });
}
function field(b) {
  const e = b.element, id = "f-" + b.block_id, wrong = el("p", "tb"), hint = el("p", "note", b.hint ? b.hint.text : "");
  wrong.id = "e-" + b.block_id; wrong.setAttribute("role", "alert"); hint.id = "h-" + b.block_id;
  const n = el(e.options ? "fieldset" : e.type === "users_select" ? "select" : e.multiline ? "textarea" : "input");
  n.id = id; n.name = b.block_id; n.setAttribute("aria-describedby", `${hint.id} ${wrong.id}`);
  if (e.options) {
    n.className = "field"; n.setAttribute("role", "radiogroup");
    n.append(el("legend", "", b.label.text), ...e.options.map((o) => {
      const r = el("input"); r.type = "radio"; r.name = b.block_id; r.value = o.value; r.checked = !!e.initial_option && e.initial_option.value === o.value;
      return el("label", "opt", r, el("span", "", o.text.text, ...(o.description ? [el("small", "", o.description.text)] : [])));
    }), hint, wrong);
    return n;
  }
  const label = el("label", "", b.label.text);
  label.htmlFor = id;
  if (e.type === "users_select") n.append(new Option("Choose somebody", ""), ...Object.entries(scene.people).map(([user, name]) => new Option(name, user)));
  else { n.value = e.initial_value || ""; n.maxLength = e.max_length || 3000; n.autocomplete = "off"; if (e.multiline) n.rows = 3; else n.type = "text"; }
  return el("div", "field", label, n, hint, wrong);
}
function asked(words, key) {
  const d = $("ask"), form = $("ask-f"), yes = $("ask-yes");
  $("ask-t").textContent = words.title; $("ask-e").textContent = "";
  $("ask-b").replaceChildren(...words.blocks.map((b) => (b.type === "input" ? field(b) : block(b, ""))));
  const first = $("ask-b").querySelector(".blk");
  if (first) { first.id = "ask-p"; d.setAttribute("aria-describedby", "ask-p"); } else d.removeAttribute("aria-describedby");
  yes.hidden = !words.yes; yes.textContent = words.yes || ""; $("ask-no").textContent = words.no;
  d.returnValue = ""; d.showModal(); $("ask-no").focus();
  $("ask-no").onclick = () => d.close("no");
  return new Promise((done) => {
    let over = false;
    form.onsubmit = async (ev) => {
      ev.preventDefault();
      if (yes.hidden || yes.ariaBusy === "true") return;
      yes.ariaBusy = "true";
      const answer = words.submit ? await words.submit(Object.fromEntries(new FormData(form))) : {};
      yes.ariaBusy = "false";
      if (over) return;
      if (answer.error || Object.keys(answer.errors || {}).length) refused(answer); else d.close("yes");
    };
    d.onclose = () => { over = true; const back = keyed(key) || box; back.focus({ preventScroll: true }); done(d.returnValue === "yes"); };
  });
}
// Each refusal stands under its field; the first of them has the focus.
function refused({ error, errors = {} }) {
  $("ask-e").textContent = error || "";
  for (const p of $("ask-b").querySelectorAll(".field .tb")) {
    const why = errors[p.id.slice(2)] || "", n = $("f-" + p.id.slice(2));
    p.textContent = why; n.setAttribute("aria-invalid", !!why);
  }
  const n = $("ask-b").querySelector("[aria-invalid=true]");
  if (n) (n.querySelector("input") || n).focus();
}
function announce(text) { $("live").textContent = text; }

// ── people ──
function drawPeople() {
  if (!scene || !people.length) return;
  const faces = $("faces");
  if (!faces.children.length) for (const [id, name] of Object.entries(scene.people)) {
    const b = el("button", "face", el("span", "av", initials(name)), el("span", "", name.split(" ")[0]));
    b.type = "button"; b.setAttribute("role", "radio"); b.dataset.user = id; b.onclick = () => choose(id); faces.append(b);
  }
  for (const b of faces.children) {
    const on = b.dataset.user === me, row = people.find((p) => p.id === b.dataset.user);
    b.setAttribute("aria-checked", on); b.tabIndex = on ? 0 : -1; b.setAttribute("aria-label", `${named(b.dataset.user)}, ${row.title}`);
  }
  const mine = people.find((p) => p.id === me);
  $("you").replaceChildren(el("span", "pn", el("b", "", named(me)), `, ${mine.title}. `), mine.may);
}
function choose(id) { me = id; drawPeople(); drawChannel(); }
$("faces").onkeydown = (k) => {
  const ids = Object.keys(scene.people), i = ids.indexOf(me);
  const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: ids.length - 1 }[k.key];
  if (to === undefined) return;
  k.preventDefault(); choose(ids[(to + ids.length) % ids.length]); document.querySelector(`[data-user="${me}"]`).focus();
};

// ── four answers, verdicts, plan ──
function drawStory() {
  const title = story.title;
  story.four.forEach((q, n) => {
    const p = $("q" + n).querySelector("p");
    $("q" + n).className = "q" + (q.now ? " now" : "") + (q.tone ? " " + q.tone : "");
    p.replaceChildren(...q.answer.map(([text, tone]) => (text === "{ratio}" ? el("span", "live-ratio", pct(ratio)) : el("span", TONE[tone] || "", text))), ...(q.small ? [el("small", "", q.small)] : []));
  });
  $("verds").replaceChildren(...story.tiles.map((t) => el("div", "verd " + t.answer, el("h4", "", t.name), el("b", "", icon("i-" + t.answer), ANSWER[t.answer]), el("p", "", t.evidence))));
  $("plan").hidden = !story.plan;
  if (story.plan) {
    $("plan-h").replaceChildren("Plan ", el("code", "", story.plan.id), ", " + story.plan.count);
    $("steps").replaceChildren(...story.plan.steps.map((s) => el("li", s.icon, icon("i-" + s.icon), el("span", "", s.name + " ", el("small", "", s.what)), el("small", "", s.said))));
    $("plan-note").textContent = story.plan.note;
  }
  $("report").hidden = !story.postmortem; if (story.postmortem) $("report").href = story.postmortem;
  $("play").disabled = story.playing || story.over; $("play-t").textContent = story.over ? "Played" : story.playing ? "Playing…" : "Play the story";
  if (document.title !== title) { document.title = title; announce(title); }
  drawProof();
}

// ── proof ──
function drawProof() {
  if (!series.length || document.hidden) return;
  const now = series[series.length - 1], marks = story ? story.marks : { lines: [], dots: [] }, plot = $("plot");
  ratio = now[2];
  for (const n of document.querySelectorAll(".live-ratio")) n.textContent = pct(ratio);
  $("r-share").textContent = pct(now[1]); $("r-share").className = now[1] > 0.01 ? "tb" : "tg"; $("r-rate").textContent = `of ${now[3]} req/s`;
  $("r-ratio").textContent = pct(ratio); $("r-ratio").className = ratio > OBJECTIVE ? "tb" : "tg";
  const W = plot.clientWidth, H = plot.clientHeight;
  if (W) { plot.setAttribute("viewBox", `0 0 ${W} ${H}`); plot.innerHTML = plotted(series, marks, W, H); plot.setAttribute("aria-label", sentence(series, marks)); }
  if (document.querySelector("details").open) {
    const step = Math.max(1, Math.ceil(series.length / 12)), rows = series.filter((_, i) => (series.length - 1 - i) % step === 0);
    $("numbers").replaceChildren(...rows.map((p) => el("tr", "", el("td", "", hms(p[0])), el("td", "", pct(p[1])), el("td", "", pct(1 - p[1])), el("td", "", pct(p[2])))));
  }
}
document.querySelector("details").ontoggle = drawProof;

// ── timeline ──
function drawEntries({ after, rows }) {
  const list = $("entries"), sc = $("entries-box"), end = sc.scrollHeight - sc.scrollTop - sc.clientHeight < 40, first = !list.children.length;
  if (after < list.children.length) list.replaceChildren(...[...list.children].slice(0, after));
  for (const e of rows) {
    const look = e.type.endsWith(".sampled");
    const li = el("li", `ent k-${e.kind}${look ? " look" : ""}${first ? "" : " new"}`, el("time", "", hms(Date.parse(e.at) / 1000)), el("span", "dot"), el("p", "", e.sentence, el("code", "", `${e.version} · ${e.type} · ${e.digest}`)));
    li.dataset.version = e.version; list.append(li);
  }
  $("count").textContent = `${list.children.length} entries, append-only`;
  if (end && !sc.matches(":hover")) sc.scrollTop = sc.scrollHeight;
}
async function chain(path) {
  $("chk").textContent = "Reading every entry…";
  try { const r = await (await fetch(path)).json(); shown(r.sentence, r.broken); } catch { shown("The demo does not answer. Is it still running?", null); }
}
function shown(text, broken) {
  $("chk").textContent = text; $("chk").className = broken ? "tb" : ""; announce(text);
  for (const li of $("entries").children) {
    li.classList.toggle("broken", +li.dataset.version === broken);
    if (+li.dataset.version === broken) { const sc = $("entries-box"); sc.scrollTop += li.getBoundingClientRect().top - sc.getBoundingClientRect().top - 8; }
  }
}
$("verify").onclick = () => chain("/verify");
$("tamper").onclick = () => chain("/tamper");

// ── what the server says ──
const source = new EventSource("/events");
const on = (name, draw) => source.addEventListener(name, (m) => draw(JSON.parse(m.data)));
on("scene", (s) => { if (scene && scene.run !== s.run) location.reload(); scene = s; drawPeople(); drawChannel(); });
on("story", (s) => { story = s; drawStory(); });
on("people", (p) => { people = p; drawPeople(); });
on("channel", (c) => { channel = c; drawChannel(); });
on("entries", drawEntries);
on("points", (p) => { series = [...series, ...p].slice(-1200); drawProof(); });
source.onerror = () => { $("fault").hidden = false; $("fault").textContent = "The demo does not answer. This page asks again by itself."; };
source.onopen = () => { $("fault").hidden = true; };
document.onvisibilitychange = drawProof;
addEventListener("resize", drawProof);

// ── the frame ──
$("play").onclick = () => post("/play", {});
const root = document.documentElement, dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme:dark)").matches ? "dark" : "light")) === "dark";
$("theme").setAttribute("aria-pressed", dark());
$("theme").onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; $("theme").setAttribute("aria-pressed", dark()); };
$("compose").onsubmit = (ev) => { ev.preventDefault(); const text = $("say").value.trim(); if (text) post("/say", { text }); $("say").value = ""; };
for (const b of document.querySelectorAll(".tabs button")) b.onclick = () => {
  document.querySelector("main").dataset.tab = b.dataset.tab;
  for (const o of document.querySelectorAll(".tabs button")) o.setAttribute("aria-pressed", o === b);
  scrollTo(0, 0); drawProof();
};
