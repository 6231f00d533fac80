// What every page of the dashboard uses: the API, elements, dialogs, words for numbers.

/** The rights of whoever looks; everything where the hub asks for no tokens. */
export const session = { name: null, scopes: ["send", "register", "feed", "live", "ops"], open: true };
export const can = (...scopes) => scopes.some(s => session.scopes.includes(s));

/** An answer that is not a success, with the problem document's words. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `The hub answered ${status}`);
    this.status = status;
    this.errors = body?.errors || [];
  }
}

// Payloads are shown as they were sent: numbers that JavaScript would write otherwise stay as they are.
const exact = (_, value, context) =>
  typeof value === "number" && context && String(value) !== context.source && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
export const parse = text => JSON.parse(text, exact);
export const pretty = value => JSON.stringify(value, null, 2);

const link = document.getElementById("link");
let lostAt = null;
function connection(up, why) {
  if (up && lostAt !== null) {
    say(`The hub answers again, after ${span(Date.now() - lostAt)}.`);
    lostAt = null;
  } else if (!up && lostAt === null) lostAt = Date.now();
  const text = up ? "Connected" : `${why} since ${clock(lostAt)}`;
  if (link.textContent !== text) link.textContent = text;
  link.classList.toggle("lost", !up);
}

/** Asks the hub. `body` goes as JSON, a string as it is; `payloads` says that the answer has some. Throws a Problem. */
export async function api(path, { method = "GET", body, signal, payloads } = {}) {
  const url = path.startsWith("/") ? path.slice(1) : `api/events/${path}`;
  const init = { method, signal, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined) {
    init.body = typeof body === "string" ? body : JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  let response, text;
  try {
    response = await fetch(url, init);
    text = await response.text();
  } catch (error) {
    if (error.name !== "AbortError") connection(false, "No answer");
    throw error.name === "AbortError" ? error : new Problem(0, { detail: "The hub does not answer" });
  }
  connection(response.status !== 502 && response.status !== 504, "No answer");
  let answer = null;
  try { answer = !text ? null : payloads ? parse(text) : JSON.parse(text); } catch { /* Not ours: a proxy's page. */ }
  if (response.ok) return answer;
  if (response.status === 401 && path !== "/api/session") dispatchEvent(new Event("signin"));
  throw new Problem(response.status, answer);
}

/** The API's path of a link, whatever host the hub thinks it has. */
export function href(links, rel) {
  const found = links?.find(l => l.rel === rel)?.href;
  return found && found.slice(found.indexOf("/api/events"));
}
export const enc = encodeURIComponent;

/** An element. Attributes that begin with "on" are handlers; `null` and `false` leave them out. */
export function h(tag, attributes, ...children) {
  const svg = tag === "svg" || tag === "path" || tag === "line";
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else if (name === "value" && tag !== "option" && tag !== "meter") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter(c => c !== null && c !== undefined && c !== false));
  return element;
}

/** Makes `old` like `wanted`, keeping what is there: focus, scrolling and selection survive a refresh. */
export function patch(old, wanted) {
  if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName || old.dataset?.key !== wanted.dataset?.key) {
    old.replaceWith(wanted);
    return;
  }
  if (old.nodeType === 3) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  for (const { name, value } of [...wanted.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const on of ["onclick", "onsubmit", "onpointermove", "onpointerleave", "onchange", "oninput"]) if (old[on] !== wanted[on]) old[on] = wanted[on];
  const keep = [...old.childNodes], next = [...wanted.childNodes];
  next.forEach((child, n) => (keep[n] ? patch(keep[n], child) : old.append(child)));
  keep.slice(next.length).forEach(child => child.remove());
}
/** Makes the children of `root` these. */
export function show(root, ...children) {
  const shell = root.cloneNode(false);
  shell.append(...children.flat(9).filter(c => c !== null && c !== undefined && c !== false));
  patch(root, shell);
}

/** Calls `work` now and every so often until `signal` aborts; never twice at a time, and not while nobody looks. */
export function every(ms, signal, work) {
  let timer, told = "";
  const run = async () => {
    if (!document.hidden) try {
      await work();
      told = "";
    } catch (error) {
      // Said once; that the hub is away stands at the top. What is no answer of the hub is a fault of this page.
      if (error.status && error.message !== told) say((told = error.message), true);
      else if (error.name !== "AbortError" && error.status === undefined) console.error(error);
    }
    if (!signal.aborted) timer = setTimeout(run, ms);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  return run();
}

/** Says something in a corner and to screen readers. */
export function say(text, bad) {
  const box = document.getElementById("says");
  const line = h("p", { class: bad ? "bad" : null }, text);
  box.append(line);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => line.remove(), bad ? 9000 : 5000);
}
/** Runs what a button does; what goes wrong is said. */
export async function attempt(work) {
  try { return await work(); } catch (error) { if (error.name !== "AbortError") say(error.message, true); return undefined; }
}

let dialogs = 0;
/** Opens a dialog; resolves with what `close(value)` was given, or undefined. Focus goes back where it was. */
export function dialog(title, build, { wide } = {}) {
  return new Promise(done => {
    const before = document.activeElement;
    const id = `d${++dialogs}`;
    let value;
    const box = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": id });
    const close = result => { value = result; box.close(); };
    box.append(h("div", null, h("h2", { id }, title), build(close)));
    box.addEventListener("close", () => { box.remove(); if (before?.isConnected) before.focus(); done(value); });
    document.body.append(box);
    box.showModal();
  });
}
/** Asks before something that cannot be undone; `text` says what and to how many. */
export function confirm(title, text, verb, danger = true) {
  return dialog(title, close => [
    h("p", null, text),
    h("div", { class: "end" },
      h("button", { type: "button", onclick: () => close(false) }, "Cancel"),
      h("button", { type: "button", class: danger ? "main danger" : "main", onclick: () => close(true) }, verb)),
  ].reduce((all, part) => (all.append(part), all), document.createDocumentFragment()));
}
/** One event, with what became of it. */
export function showEvent(id, known) {
  const over = new AbortController();
  return dialog("Event", close => {
    const body = h("div", { class: "form" }, known ? h("pre", null, layout(known.payload)) : h("p", { class: "soft" }, "Reading…"));
    // As long as it is open, for what is pending now is delivered soon.
    every(2000, over.signal, async () => {
      try {
        const event = await api(id, { payloads: true, signal: over.signal });
        show(body,
          h("dl", { class: "facts" },
            fact("Type", event.type), fact("Created", stamp(event.created_at)), fact("Id", h("span", { class: "mono" }, event.id))),
          h("pre", { tabindex: 0, "aria-label": "Payload" }, pretty(event.payload)),
          h("h3", null, "Streams"),
          event.streams.length ? table("Delivery", ["Stream", "State", "Attempts", "Last error"], event.streams.map(s => [
            h("a", { href: `#/streams/${enc(event.type)}/${enc(s.name)}`, onclick: () => close() }, s.name), pill(s.state), s.attempts ?? "",
            [h("span", { class: "err" }, s.last_error || ""), s.next_attempt_at ? h("span", { class: "sub" }, `next attempt ${stamp(s.next_attempt_at)}`) : null],
          ])) : h("p", { class: "soft" }, "Its type has no streams."),
          h("h3", null, "Marked processed by"),
          h("p", { class: event.processed_by.length ? null : "soft" }, event.processed_by.join(", ") || "Nobody yet."));
      } catch (error) {
        if (error.name === "AbortError") return;
        if (!known) show(body, h("p", { class: "note bad" }, error.message));
        else show(body, h("p", { class: "note warn" }, error.status === 404 ? "The hub does not keep this event: it is ephemeral, or its time is over." : error.message),
          h("dl", { class: "facts" }, fact("Type", known.type), fact("Created", stamp(known.at)), fact("Id", known.id)), h("pre", null, layout(known.payload)));
        if (error.status === 404) over.abort();
      }
    });
    const part = document.createDocumentFragment();
    part.append(body, h("div", { class: "end" }, h("button", { type: "button", class: "main", onclick: () => close() }, "Close")));
    return part;
  }, { wide: true }).finally(() => over.abort());
}
const layout = text => { try { return pretty(parse(text)); } catch { return text; } };

export const pill = state => h("span", { class: `pill ${state}` }, state);
export const fact = (name, ...value) => h("div", null, h("dt", null, name), h("dd", null, ...value));
/** A table; a column named with a leading "#" holds numbers, one named "" buttons. */
export function table(caption, columns, rows) {
  const kind = columns.map(c => (c.startsWith("#") ? "num" : c === "" ? "act" : null));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "hide" }, caption),
      h("thead", null, h("tr", null, columns.map((c, n) => h("th", { scope: "col", class: kind[n] }, c.replace("#", "") || h("span", { class: "hide" }, "Actions"))))),
      h("tbody", null, rows.map(row => h("tr", row.key ? { "data-key": row.key } : null, row.map((cell, n) => h("td", { class: kind[n] }, cell)))))));
}
export const head = (title, sub, ...tools) => h("div", { class: "head" }, h("div", null, h("h1", null, title), sub ? h("p", null, sub) : null), h("div", { class: "row" }, tools));

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = n => (n === null || n === undefined ? "–" : whole.format(n));
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
/** A rate or a time, with as many digits as say something. */
export const figure = n => (n === null || n === undefined ? "–" : n === 0 ? "0" : n < 0.1 ? n.toFixed(2) : n < 10 ? n.toFixed(1) : whole.format(n));
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  const s = ms / 1000;
  if (s < 1) return `${Math.round(ms)} ms`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}
export function size(n) {
  if (n === null || n === undefined) return "–";
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024) return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1024;
  }
  return `${n.toFixed(1)} TiB`;
}
const two = n => String(n).padStart(2, "0");
export const clock = at => { const d = new Date(at); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };
export const millis = at => `${clock(at)}.${String(new Date(at).getMilliseconds()).padStart(3, "0")}`;
export const stamp = at => { const d = new Date(at); return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${millis(at)}`; };

/** Puts the errors of a problem at their fields (`data-at`: the JSON pointer); what has no field goes to `rest`. */
export function showErrors(form, errors, rest) {
  for (const field of form.querySelectorAll("[data-at]")) {
    field.removeAttribute("aria-invalid");
    const words = document.getElementById(field.getAttribute("aria-describedby"));
    if (words) words.textContent = "";
  }
  const left = [];
  let first = null;
  for (const { pointer, detail } of errors) {
    let at = pointer, field;
    while (!(field = form.querySelector(`[data-at="${CSS.escape(at)}"]`)) && at.includes("/")) at = at.slice(0, at.lastIndexOf("/"));
    if (!field) { left.push(`${pointer} ${detail}`.trim()); continue; }
    for (let d = field.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
    field.setAttribute("aria-invalid", "true");
    const words = document.getElementById(field.getAttribute("aria-describedby"));
    if (words) words.textContent += `${words.textContent ? "; " : ""}${at === pointer ? "" : `${pointer.slice(at.length)} `}${detail}`;
    first ||= field;
  }
  rest.textContent = left.join("; ");
  first?.focus();
}
let fields = 0;
/** A labelled input whose errors are shown beneath it. */
export function field(label, at, input, hint) {
  const id = `f${++fields}`;
  input.id = id;
  input.setAttribute("data-at", at);
  input.setAttribute("aria-describedby", `${id}e`);
  return h("div", { class: "field" }, h("label", { for: id }, label, hint ? h("small", null, hint) : null), input, h("span", { class: "wrong", id: `${id}e`, role: "alert" }));
}
