// Live: events as they come, over the public WebSocket, with resume. Memory is bounded: the newest events stay, and rows
// exist only for what is on the screen.
import { api, can, clock, count, enc, h, head, many, millis, parse, pretty, showEvent, span } from "./base.js";

export const title = "Live";
const KEPT = 5000, ROW = 32;

/** Events by arrival, at most KEPT of them; a number that only grows tells each. */
class Ring {
  constructor() { this.clear(); }
  clear() { this.slots = []; this.first = 0; this.ids = new Set(); }
  get end() { return this.first + this.slots.length; }
  add(event) {
    if (this.ids.has(event.id)) return false;
    this.slots.push(event);
    this.ids.add(event.id);
    // In steps, so that it costs nothing for each.
    if (this.slots.length > KEPT + 500) this.cut();
    return true;
  }
  cut() {
    const old = this.slots.splice(0, this.slots.length - KEPT);
    old.forEach(event => this.ids.delete(event.id));
    this.first += old.length;
  }
}

/** An event out of its frame, its payload exactly as it was sent. */
function read(frame) {
  const payload = frame.indexOf(',"payload":'), end = frame.lastIndexOf(',"created_at":"');
  if (frame.startsWith('{"id":"') && payload > 0 && end > payload) {
    const start = JSON.parse(`${frame.slice(0, payload)}}`);
    return { id: start.id, type: start.type, payload: frame.slice(payload + 11, end), at: JSON.parse(`{${frame.slice(end + 1)}`).created_at };
  }
  const { id, type, payload: value, created_at } = parse(frame);
  return { id, type, payload: JSON.stringify(value), at: created_at };
}

export default function live(root, [wanted = ""], signal) {
  const ring = new Ring();
  let shown = [], held = [], pending = [], paused = false, full = false;
  let socket = null, last = null, lost = null, wait = 500, retry = null, since = null, caught = 0, settle = null;
  let types = wanted, text = "", total = 0, chosen = null, rate = 0, counted = 0, follow = true, queued = false;

  // The frame of the page is made once; only the rows change.
  const typesInput = h("input", { value: types, placeholder: "every type, e.g. financial:*", spellcheck: "false", autocomplete: "off", id: "live-types", "aria-describedby": "live-wrong" });
  const textInput = h("input", { type: "search", placeholder: "in type, id or payload", spellcheck: "false", id: "live-text" });
  const wrong = h("span", { class: "wrong", id: "live-wrong", role: "alert" });
  const state = h("p", { class: "soft", role: "status", "aria-live": "polite" }, "Connecting…");
  const log = h("ul", { class: "log", "aria-live": "polite", "aria-label": "Connection" });
  const figures = h("p", { class: "soft num" });
  const pause = h("button", { id: "pause", type: "button", class: "main", "aria-pressed": "false" }, "Pause");
  const newer = h("button", { type: "button", class: "little", hidden: true });
  const space = h("div", { class: "space" });
  const empty = h("p", { class: "empty" }, "Nothing has come yet. Events appear here the moment they are stored.");
  const list = h("div", { class: "list", tabindex: 0, role: "listbox", "aria-label": "Events, newest first" }, space, empty);
  const rows = [];
  root.append(
    head("Live", "The stream of events as they are stored.", h("button", { type: "button", id: "live-clear" }, "Clear"), pause),
    h("form", { class: "card filter", onsubmit: event => event.preventDefault() },
      h("label", { for: "live-types" }, h("span", null, "Types ", h("small", null, "commas, * for anything")), typesInput, wrong),
      h("label", { for: "live-text" }, "Text", textInput)),
    h("section", { class: "card flush", "aria-label": "Events" }, h("div", { class: "head" }, state, h("div", { class: "row" }, newer, figures)), list),
    log);

  const matches = event => !text || event.type.toLowerCase().includes(text) || event.id.includes(text) || event.payload.toLowerCase().includes(text);
  const wake = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; if (!signal.aborted) { take(); draw(); } });
  };

  /** Moves what has arrived to where it belongs. */
  function take() {
    const arrived = pending;
    pending = [];
    for (const event of arrived) {
      if (paused) {
        held.push(event);
        // No more than this is kept: the rest waits in the hub, and is asked for when it goes on.
        if (held.length >= KEPT) { full = true; drop(); break; }
      } else put(event);
    }
  }
  function put(event) {
    if (!ring.add(event)) return;
    total += 1;
    if (matches(event)) {
      shown.push(event);
      if (shown.length > KEPT + 500) shown = shown.slice(-KEPT);
      if (!follow) list.scrollTop += ROW;
    }
  }
  function draw() {
    const height = `${shown.length * ROW}px`;
    if (space.style.height !== height) space.style.height = height;
    empty.hidden = shown.length > 0;
    empty.textContent = ring.slots.length ? "No event here has this text." : "Nothing has come yet. Events appear here the moment they are stored.";
    const top = Math.max(0, Math.floor(list.scrollTop / ROW) - 3);
    const fit = Math.min(shown.length - top, Math.ceil(list.clientHeight / ROW) + 7);
    while (rows.length < fit) {
      const row = h("div", { class: "ev", role: "option", id: `ev${rows.length}` }, h("time"), h("b"), h("code"));
      row.onclick = () => { chosen = row.event.id; showEvent(row.event.id, row.event); wake(); };
      rows.push(row);
      list.append(row);
    }
    rows.forEach((row, n) => {
      const event = n < fit ? shown[shown.length - 1 - top - n] : null;
      row.hidden = !event;
      if (!event) { row.event = null; return; }
      row.style.transform = `translateY(${(top + n) * ROW}px)`;
      if (row.event !== event) {
        row.event = event;
        const [time, type, payload] = row.children;
        time.textContent = millis(event.at);
        type.textContent = event.type;
        payload.textContent = event.payload.length > 300 ? `${event.payload.slice(0, 300)}…` : event.payload;
      }
      const on = event.id === chosen;
      row.classList.toggle("on", on);
      row.setAttribute("aria-selected", on);
      if (on) list.setAttribute("aria-activedescendant", row.id);
    });
    newer.hidden = follow && !paused;
    const text = paused ? `${count(held.length)}${full ? "+" : ""} wait` : "To the newest ↑";
    if (newer.textContent !== text) newer.textContent = text;
  }

  const note = words => {
    log.prepend(h("li", null, `${clock(Date.now())}  ${words}`));
    while (log.children.length > 6) log.lastChild.remove();
  };
  const status = words => { if (state.textContent !== words) state.textContent = words; };

  /** Lets go of the socket without asking for it again. */
  function drop() {
    clearTimeout(retry);
    if (socket) { socket.onclose = socket.onmessage = null; socket.close(); socket = null; }
  }
  function open() {
    drop();
    const base = new URL("api/events/", document.baseURI);
    base.protocol = base.protocol.replace("http", "ws");
    if (types) base.searchParams.set("types", types);
    if (last) base.searchParams.set("since", last);
    const mine = (socket = new WebSocket(base));
    mine.onopen = () => {
      wait = 500;
      status(types ? `Live: ${types}` : "Live: every type");
      since = last ? Date.now() : null;
      caught = 0;
    };
    mine.onmessage = ({ data }) => {
      if (data.startsWith('{"control"')) { control(parse(data)); return; }
      const event = read(data);
      last = event.id;
      if (since !== null && lost !== null) {
        if (!ring.ids.has(event.id) && Date.parse(event.at) < since) caught += 1;
        clearTimeout(settle);
        settle = setTimeout(settled, 400);
      }
      pending.push(event);
      // A page that nobody looks at is not drawn; what came goes to its place all the same.
      if (pending.length > 2000) take();
      wake();
    };
    mine.onclose = event => {
      if (signal.aborted || mine !== socket) return;
      socket = null;
      lost ??= Date.now();
      // While it was never open, the hub may have refused: why, only a plain request is told.
      status(`Disconnected since ${clock(lost)}${event.reason ? ` (${event.reason})` : ""}; trying again`);
      retry = setTimeout(open, wait);
      wait = Math.min(wait * 2, 10000);
    };
  }
  function control(message) {
    if (message.control === "resumed") {
      if (!message.complete) note("Some events since then are no longer kept by the hub.");
      clearTimeout(settle);
      settle = setTimeout(settled, 600);
    } else if (message.control === "error") note(message.detail);
  }
  function settled() {
    if (lost === null) return;
    note(`Was disconnected for ${span(since - lost)}; caught up ${many(caught, "event")} since.`);
    lost = null;
  }

  async function begin() {
    ring.clear();
    shown = []; held = []; pending = []; last = null; lost = null; full = false; total = counted = 0;
    open();
    // What was before, so that a quiet hub does not look like a broken one.
    if (can("feed")) try {
      const feed = await api(`feed/hour/current?limit=100${types ? `&types=${enc(types)}` : ""}`, { signal, payloads: true });
      const before = feed.events.map(e => ({ id: e.id, type: e.type, payload: JSON.stringify(e.payload), at: e.created_at })).reverse();
      const now = ring.slots.concat(pending);
      ring.clear(); shown = []; pending = [];
      for (const event of before.concat(now)) put(event);
      last ??= before.at(-1)?.id ?? null;
      list.scrollTop = 0;
      counted = total;
      wake();
    } catch (error) { if (error.status) { wrong.textContent = error.message; } }
  }
  function refilter() {
    text = textInput.value.trim().toLowerCase();
    shown = ring.slots.filter(matches);
    list.scrollTop = 0;
    wake();
  }

  let typing;
  typesInput.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      const value = typesInput.value.split(",").map(t => t.trim()).filter(Boolean).join(",");
      const ok = !value || value.split(",").every(t => /^[A-Za-z0-9._*-]+(:[A-Za-z0-9._*-]+)*$/.test(t));
      wrong.textContent = ok ? "" : "Types are letters, digits and . _ - with colons between; * stands for anything.";
      typesInput.toggleAttribute("aria-invalid", !ok);
      if (!ok) typesInput.setAttribute("aria-invalid", "true");
      if (ok && value !== types) { types = value; begin(); }
    }, 350);
  };
  textInput.oninput = refilter;
  document.getElementById("live-clear").onclick = () => { ring.clear(); shown = []; wake(); };
  pause.onclick = () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", paused);
    if (!paused) {
      const some = held;
      held = [];
      follow = true;
      some.forEach(put);
      list.scrollTop = 0;
      if (full) { full = false; last = some.at(-1)?.id ?? last; note("More came than the page keeps while paused; the rest is read from the hub."); open(); }
    }
    wake();
  };
  newer.onclick = () => { if (paused) pause.click(); follow = true; list.scrollTop = 0; wake(); };
  list.onscroll = () => { follow = list.scrollTop < ROW; wake(); };
  list.onkeydown = event => {
    const at = shown.findIndex(e => e.id === chosen);
    const step = { ArrowDown: -1, ArrowUp: 1 }[event.key];
    if (step) {
      event.preventDefault();
      const next = at < 0 ? shown.length - 1 : Math.min(shown.length - 1, Math.max(0, at + step));
      chosen = shown[next]?.id ?? null;
      const y = (shown.length - 1 - next) * ROW;
      if (y < list.scrollTop) list.scrollTop = y;
      if (y + ROW > list.scrollTop + list.clientHeight) list.scrollTop = y + ROW - list.clientHeight;
      wake();
    } else if (event.key === "Enter" && at >= 0) {
      // Or it would press the button that the dialog puts the focus on.
      event.preventDefault();
      showEvent(chosen, shown[at]);
    }
  };

  const timer = setInterval(() => {
    rate = total - counted;
    counted = total;
    figures.textContent = `${count(Math.max(0, rate))} a second · ${many(ring.slots.length, "event")} here`;
  }, 1000);
  const sized = new ResizeObserver(wake);
  sized.observe(list);
  signal.addEventListener("abort", () => { clearInterval(timer); clearTimeout(settle); clearTimeout(typing); sized.disconnect(); drop(); });
  begin();
}
