// The page of telephones. It asks for the whole state whenever the booth says
// that something changed, and sets the page right by it. Texts are other
// people's words: they become text nodes, never markup.
"use strict";

const $ = (id) => document.getElementById(id);

// el makes an element: el("p", {class: "x", onclick: f}, "text", child…).
function el(tag, attrs = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value === true) e.setAttribute(name, "");
    else if (value !== false && value != null) e.setAttribute(name, value);
  }
  e.append(...children.filter((c) => c != null && c !== false && c !== "")); // a false is a child that is not there
  return e;
}

// ask calls the booth; what it refuses is shown, and null.
async function ask(method, path, body) {
  try {
    const r = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
    });
    const answer = await r.json();
    if (!r.ok) throw new Error(answer.error || r.statusText);
    return answer;
  } catch (e) {
    toast(e.message);
    return null;
  }
}

let toastTimer;
function toast(words) {
  $("toast").textContent = words;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 5000);
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

// ---- segments, for the counter under the keyboard ----

const BASIC = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
  "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENSION = "^{}\\[~]|€\f";

function segments(text) {
  const chars = [...text];
  const gsm = chars.every((c) => BASIC.includes(c) || EXTENSION.includes(c));
  const cost = gsm ? (c) => (EXTENSION.includes(c) ? 2 : 1) : (c) => c.length;
  const [alone, joined] = gsm ? [160, 153] : [70, 67];
  const total = chars.reduce((n, c) => n + cost(c), 0);
  if (total <= alone) return { n: 1, total, room: alone, gsm };
  let n = 1, room = joined;
  for (const c of chars) {
    if (cost(c) > room) { n++; room = joined; }
    room -= cost(c);
  }
  return { n, total, room: n * joined, gsm };
}

// ---- telephones ----

const phones = new Map(); // number → {root, texts, badge, bubbles: sid → {li, drawn}}

function phone(number) {
  const known = phones.get(number);
  if (known) return known;

  const name = "phone-" + number.replace(/\W/g, "");
  const texts = el("ul", { class: "texts", role: "log", "aria-live": "polite", "aria-label": "Texts of " + number, tabindex: "0" });
  const badge = el("span", { class: "badge", hidden: true }, "opted out");
  const count = el("span", { class: "quiet" });
  const input = el("textarea", { id: name + "-body", rows: "1", placeholder: "Text message", autocomplete: "off", enterkeyhint: "send" });
  const to = el("select", { "aria-label": "Text which of the account's numbers" });
  const send = el("button", {}, "Send");
  const recount = () => {
    const s = segments(input.value);
    count.textContent = input.value ? `${s.total}/${s.room}${s.n > 1 ? ` · ${s.n} segments` : ""}${s.gsm ? "" : " · UCS-2"}` : "";
  };
  const say = async (body) => {
    const answer = await ask("POST", `/booth/phones/${encodeURIComponent(number)}/texts`, { body, to: to.value });
    if (!answer && !input.value) { input.value = body; recount(); } // refused: it is not to be typed again
    if (answer && answer.forwarded && !answer.webhook_status) toast("The service did not answer. See the debugger.");
  };
  input.addEventListener("input", recount);
  // Enter sends, as on a telephone; with Shift it breaks the line.
  let shift = false;
  input.addEventListener("keydown", (e) => { shift = e.shiftKey; });
  input.addEventListener("beforeinput", (e) => {
    if (e.inputType === "insertLineBreak" && !shift) { e.preventDefault(); form.requestSubmit(); }
  });
  const word = (w) => el("button", { type: "button", onclick: () => say(w), "aria-label": "Text " + w }, w);
  const form = el("form", {
    class: "composer",
    onsubmit: (e) => {
      e.preventDefault();
      const body = input.value;
      if (!body) return;
      input.value = "";
      recount();
      say(body);
    },
  },
    to,
    el("div", { class: "row" },
      el("label", { for: input.id, class: "hidden" }, "Text from " + number), input, send),
    el("div", { class: "foot" }, el("div", { class: "words" }, word("STOP"), word("START"), word("HELP")), count));
  const root = el("article", { class: "phone", "aria-label": "Telephone " + number },
    el("div", { class: "top" }, el("h3", {}, number), badge,
      el("button", { type: "button", "aria-label": "Put away " + number, onclick: () => ask("DELETE", `/booth/phones/${encodeURIComponent(number)}`) }, "×")),
    texts, form);
  const p = { root, texts, badge, input, recount, to, bubbles: new Map() };
  phones.set(number, p);
  $("phones").append(root);
  return p;
}

const OTP = /(?:^|\n)@(\S+) #(\S+)[^\n]*$/; // the last line, for the browser

function bubble(m, p) {
  const mine = m.direction === "inbound";
  const otp = !mine && m.body.match(OTP);
  const body = otp ? m.body.slice(0, otp.index).trimEnd() : m.body;
  const lost = ["failed", "undelivered", "canceled"].includes(m.status);
  const waiting = ["accepted", "scheduled", "queued"].includes(m.status);
  const tick = { queued: "queued", accepted: "accepted", scheduled: "scheduled", sent: "sent\u00a0✓", delivered: "delivered\u00a0✓✓" }[m.status] || "";
  const cost = `${m.segments} segment${m.segments > 1 ? "s" : ""} · ${m.encoding}`;
  return el("li", { class: (mine ? "mine" : "") + (lost ? " failed" : "") + (waiting ? " waiting" : "") },
    body && el("div", { class: "bubble" }, body),
    ...(m.media || []).map((x) => el("div", { class: "bubble mono" }, "📎 " + x.url)),
    otp && el("button", {
      type: "button", class: "otp", title: "The WebOTP line: a browser at this host may fill the code in. Press to type it.",
      onclick: () => { p.input.value = otp[2]; p.recount(); p.input.focus(); },
    }, `@${otp[1]} #${otp[2]}`),
    el("div", { class: "meta" },
      clock(m.date) + " · ",
      el("span", { class: m.segments > 1 ? "warn" : "" }, cost),
      lost && el("span", { class: "bad" }, ` · ${m.status}${m.error_code ? " " + m.error_code : ""}`),
      !lost && tick && !mine && ` · ${tick}`,
      m.redacted && " · redacted",
      m.deleted && " · deleted"));
}
function drawPhones(state) {
  for (const [number, p] of phones) {
    if (!state.phones.includes(number)) { p.root.remove(); phones.delete(number); }
  }
  $("nobody").hidden = state.phones.length > 0;
  for (const number of state.phones) {
    const p = phone(number);
    p.badge.hidden = !state.opt_outs.some((o) => o.number === number);
    if (p.to.options.length !== state.numbers.length) {
      p.to.replaceChildren(...state.numbers.map((n) => el("option", {}, n)));
      p.to.hidden = state.numbers.length < 2;
    }
    const shown = state.messages.filter((m) => (m.direction === "inbound" ? m.from : m.to) === number);
    const atEnd = p.texts.scrollHeight - p.texts.scrollTop - p.texts.clientHeight < 60;
    const first = p.bubbles.size === 0;
    let drew = false;
    for (const m of shown) {
      const key = JSON.stringify(m), old = p.bubbles.get(m.sid);
      if (old && old.key === key) continue;
      const li = bubble(m, p);
      if (old) {
        old.li.replaceWith(li);
      } else {
        if (!first) li.classList.add("new");
        p.texts.append(li);
      }
      drew = true;
      p.bubbles.set(m.sid, { li, key });
    }
    const kept = new Set(shown.map((m) => m.sid));
    for (const [sid, b] of p.bubbles) {
      if (!kept.has(sid)) { b.li.remove(); p.bubbles.delete(sid); }
    }
    if (drew && (atEnd || first)) p.texts.scrollTop = p.texts.scrollHeight;
  }
}

// ---- the webhook and its signature ----

let chosen = ""; // "" follows the newest
const nameOf = (w) => w.at + w.kind + w.signature;

function drawWebhook(state) {
  const hooks = state.webhooks;
  $("hook-choice").hidden = hooks.length === 0;
  if (!hooks.length) {
    $("hook").replaceChildren(el("p", { class: "empty" }, "None has been sent yet."));
    return;
  }
  if (!hooks.some((w) => nameOf(w) === chosen)) chosen = "";
  $("hook-choice").replaceChildren(
    el("option", { value: "" }, "the latest"),
    ...hooks.map((w) => el("option", { value: nameOf(w), selected: nameOf(w) === chosen },
      `${clock(w.at)} ${w.kind}${w.status ? " " + w.status : ""}`)));
  const w = hooks.find((x) => nameOf(x) === chosen) || hooks[0];

  const outcome = w.problem
    ? el("span", { class: "bad" }, w.problem)
    : el("span", { class: "good" }, String(w.status));
  const facts = el("dl", { class: "facts" });
  const fact = (name, value) => facts.append(el("dt", {}, name), el("dd", {}, value));
  fact("Kind", w.kind);
  fact("Answer", outcome);
  fact("Took", `${w.took_ms} ms` + (w.attempts > 1 ? `, ${w.attempts} attempts` : ""));
  if (w.fault) fact("Fault", el("span", { class: "bad" }, w.fault));

  const base = el("pre", { class: "base mono", tabindex: "0", "aria-label": "The signed string" }, el("span", { class: "url" }, w.signed_url));
  for (const [name, value] of w.params) {
    base.append(el("span", { class: "name" }, name), value && el("span", { class: "value" }, value));
  }
  const step = (words, ...what) => el("li", {}, el("span", { class: "say" }, words), ...what);
  const steps = el("ol", { class: "steps" },
    step("The URL as it is configured, without its fragment, then every parameter, name and value, sorted by name, with nothing between:", base),
    step("HMAC-SHA1 of that, keyed with the account's auth token, in base64:",
      el("pre", { class: "mono" }, "X-Twilio-Signature: " + (w.signature || "(none)"))));
  const raw = `${w.method} ${w.url}\n` + w.headers.map(([n, v]) => `${n}: ${v}`).join("\n") +
    (w.signature ? `\nX-Twilio-Signature: ${w.signature}` : "") +
    "\n\n" + w.params.map(([n, v]) => `${encodeURIComponent(n)}=${encodeURIComponent(v)}`).join("&\n");
  const open = [...$("hook").querySelectorAll("details")].map((d) => d.open);
  const fold = (title, isOpen, text) => el("details", { open: isOpen }, el("summary", {}, title), el("pre", { class: "mono" }, text));
  $("hook").replaceChildren(facts, steps,
    fold("The request, raw", open[0], raw),
    fold("What was answered", open[1] ?? true, (w.content_type ? w.content_type + "\n\n" : "") + (w.answer || "(nothing)")));
}

// ---- faults and the debugger ----

const quick = [
  ["429", "429"], ["503", "503"], ["html", "502 page"], ["hang-after-accept", "hang after accept"],
  ["reset-after-accept", "reset after accept"], ["error", "refuse: 21211"], ["undelivered", "undelivered: 30003"], ["failed", "failed: 30001"],
  ["lost", "lose a text"], ["receipts-drop", "lose a receipt"], ["receipts-double", "double a receipt"],
  ["receipts-shuffle", "shuffle receipts"], ["webhook-double", "double a webhook"], ["sign-wrong-token", "forge a webhook"],
];

function drawFaults(state) {
  if (!$("fault-kind").options.length) {
    const means = Object.fromEntries(state.kinds.map((k) => [k.kind, k.means]));
    $("fault-kind").replaceChildren(...state.kinds.map((k) => el("option", { value: k.kind }, `${k.kind}: ${k.means}`)));
    $("quick").replaceChildren(...quick.map(([kind, label]) => el("button", {
      type: "button", title: means[kind], onclick: () => ask("POST", "/booth/faults", { kind, count: 1 }),
    }, label)));
  }
  $("faults").replaceChildren(...state.faults.map((f) => el("li", {},
    el("span", { class: "code" }, f.kind),
    el("span", { class: "quiet" }, [
      f.count ? `${f.count - f.struck} to go` : `struck ${f.struck} times`, f.code && `code ${f.code}`,
      f.delay && f.delay !== "0s" && f.delay, f.retry_after && `Retry-After ${f.retry_after}`, f.to && `to ${f.to}`, f.probability && `${Math.round(f.probability * 100)} %`,
    ].filter(Boolean).join(" · ")),
    el("button", { type: "button", "aria-label": "Lift " + f.kind, onclick: () => ask("DELETE", "/booth/faults/" + f.id) }, "Lift"))));
}

function drawDebugger(state) {
  $("debugger").replaceChildren(...(state.debugger.length ? state.debugger.map((t) => el("li", {},
    el("span", { class: "code " + t.level }, String(t.code)),
    el("span", {}, t.what), el("span", { class: "quiet" }, clock(t.at)),
    el("span", { class: "wide" }, [t.detail, t.url].filter(Boolean).join(" · ")))) : [el("li", { class: "empty" }, "No complaints.")]));
}

// ---- the whole ----

const drawn = {};
// once draws only what is not as it was, so that nothing jumps under a hand.
function once(name, of, draw, state) {
  const key = JSON.stringify(of);
  if (drawn[name] === key) return;
  drawn[name] = key;
  draw(state);
}

let asking = false, again = false;
async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  const state = await ask("GET", "/booth/state");
  if (state) {
    $("account").textContent = `${state.numbers.join(", ")} → ${state.inbound_url || "nowhere"}`;
    drawPhones(state);
    once("hooks", [state.webhooks, chosen], drawWebhook, state);
    once("faults", state.faults, drawFaults, state);
    once("debugger", state.debugger, drawDebugger, state);
  }
  asking = false;
  if (again) { again = false; setTimeout(refresh, 100); }
}

$("hook-choice").addEventListener("change", (e) => { chosen = e.target.value; refresh(); });
$("reset").addEventListener("click", () => ask("POST", "/booth/reset"));
for (const b of document.querySelectorAll("[data-advance]")) {
  b.addEventListener("click", async () => {
    b.disabled = true;
    if (await ask("POST", "/booth/clock", { advance: b.dataset.advance })) toast(b.textContent + " has passed, here in the booth.");
    b.disabled = false;
  });
}
$("add").addEventListener("submit", async (e) => {
  e.preventDefault();
  const added = await ask("POST", "/booth/phones", { number: $("add-number").value });
  if (added) { $("add-number").value = ""; await refresh(); phones.get(added.number)?.input.focus(); }
});
$("fault").addEventListener("submit", (e) => {
  e.preventDefault();
  const f = new FormData(e.target), fault = { kind: f.get("kind") };
  for (const n of ["count", "code", "probability"]) if (f.get(n)) fault[n] = Number(f.get(n));
  for (const n of ["to", "delay"]) if (f.get(n)) fault[n] = f.get(n);
  ask("POST", "/booth/faults", fault);
});

const events = new EventSource("/booth/events");
events.onopen = () => { $("live").textContent = "live"; $("live").classList.add("on"); };
events.onerror = () => { $("live").textContent = "not connected"; $("live").classList.remove("on"); };
events.onmessage = refresh;
