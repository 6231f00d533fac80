// Live: events as they come, over the public WebSocket, with resume. What is shown, what waits while it is paused, and
// what was caught up after a time away.
import { api, can, enc, hubNow, session } from "./api.js";
import { h, head } from "./dom.js";
import { showEvent } from "./event.js";
import { KEPT, Ring, Seen } from "./ring.js";
import { Rows } from "./rows.js";
import { Line } from "./socket.js";
import { clock, count, many, span } from "./words.js";

const QUIET = "Nothing has come yet. Events appear here the moment they are stored.";

export default function live(root, [wanted = ""], signal) {
  // `held` waits while it is paused, no more than KEPT; `full` says that the rest waits in the hub.
  let ring = new Ring(), seen = new Seen(), shown = [], held = [], pending = [], paused = false, full = false;
  // `gap` is a time away that is being caught up: why, from when, and by the hub's clock until when.
  let last = null, gap = null, settle = null, keepsAll = null, round = 0;
  let types = wanted, text = "", total = 0, counted = 0, queued = false;

  // The frame of the page is made once; only the rows change.
  const typesInput = h("input", { value: types, placeholder: "every type, e.g. financial:*", spellcheck: "false", autocomplete: "off", id: "live-types", "aria-describedby": "live-wrong" });
  const textInput = h("input", { type: "search", placeholder: "in type, id or payload", spellcheck: "false", id: "live-text" });
  const wrong = h("span", { class: "wrong", id: "live-wrong", role: "alert" });
  const state = h("p", { class: "state", role: "status" }, "Connecting…");
  const log = h("ul", { class: "log", role: "log", "aria-label": "Connection", hidden: true });
  const figures = h("p", { class: "soft num" });
  const pause = h("button", { id: "pause", type: "button", class: "main", "aria-pressed": "false" }, "Pause");
  const newer = h("button", { type: "button", class: "little", hidden: true });
  const empty = h("p", { class: "empty" }, QUIET);
  const rows = new Rows(event => showEvent(event.id, event));
  root.append(
    head("Live", "The stream of events as they are stored.", h("button", { type: "button", id: "live-clear", onclick: () => { ring = new Ring(); shown = []; wake(); } }, "Clear"), pause),
    h("form", { class: "card filter", onsubmit: event => event.preventDefault() },
      h("div", { class: "field" }, h("label", { for: "live-types" }, h("span", null, "Types"), h("small", null, "commas between, * for anything")), typesInput, wrong),
      h("div", { class: "field" }, h("label", { for: "live-text" }, "Text"), textInput)),
    h("section", { class: "card flush events", "aria-label": "Events" }, h("div", { class: "head" }, state, h("div", { class: "row" }, newer, figures)), log,
      h("div", { class: "stage" }, rows.root, empty)));

  const matches = event => !text || event.type.toLowerCase().includes(text) || event.id.includes(text) || event.payload.toLowerCase().includes(text);
  const wake = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; if (!signal.aborted) draw(take()); });
  };
  rows.onscroll = wake;

  /** Moves what has arrived to where it is shown; how many of it are. */
  function take() {
    const before = total, arrived = pending;
    let more = 0;
    pending = [];
    for (const event of arrived) {
      ring.add(event);
      total += 1;
      if (!matches(event)) continue;
      more += 1;
      shown.push(event);
      if (shown.length > KEPT + 500) shown = shown.slice(-KEPT);
    }
    if (total !== before && gap?.over) told();
    return more;
  }
  function draw(more) {
    rows.draw(shown, more);
    empty.hidden = shown.length > 0;
    empty.textContent = ring.slots.length ? "No event here has this text." : QUIET;
    newer.hidden = rows.follow && !paused;
    const words = paused ? `${count(held.length)}${full ? "+" : ""} wait` : "To the newest ↑";
    if (newer.textContent !== words) newer.textContent = words;
  }

  const note = words => {
    log.hidden = false;
    log.prepend(h("li", null, h("time", null, clock(Date.now())), h("span", null, words)));
    while (log.children.length > 3) log.lastChild.remove();
  };
  const status = (words, kind) => {
    if (state.textContent !== words) state.textContent = words;
    state.className = `state ${kind}`;
  };
  const well = () => status(`Live: ${types || session.types?.join(", ") || "every type"}`, "up");
  const lasts = () => (keepsAll ? "" : " Ephemeral events of that time, if there were any, are not kept by the hub.");

  const line = new Line({
    open(resumed) {
      well();
      if (!gap) return;
      Object.assign(gap, { until: hubNow(), back: Date.now(), caught: gap.caught || 0 });
      // Nothing had come to go on from: what there is now is what came.
      if (!resumed) fill(round).then(() => quiet(400));
    },
    lost(reason) {
      if (signal.aborted) return;
      gap ??= { from: Date.now() };
      gap.until = null;
      // The last known reason stays, so that it is not said anew with each attempt.
      gap.why = reason || gap.why;
      status(`Disconnected since ${clock(gap.from)}${gap.why ? ` (${gap.why})` : ""}; trying again`, "lost");
    },
    control(message) {
      if (message.control === "resumed") {
        if (gap) gap.complete = message.complete;
        quiet(600);
      } else if (message.control === "error") note(message.detail);
    },
    event(event) {
      // No more than this is kept: the rest waits in the hub, and is asked for when it goes on.
      if (paused && held.length >= KEPT && seen.isNew(event)) { overflow(); return; }
      if (!seen.take(event)) return;
      line.since = last = event.id;
      if (gap?.until) {
        // What is newer than the session is not caught up but simply live.
        if (Date.parse(event.at) < gap.until) { gap.caught += 1; quiet(400); } else gap.over = true;
      }
      (paused ? held : pending).push(event);
      // A page that nobody looks at is not drawn; what came goes to its place all the same.
      if (pending.length > 2000) draw(take());
      else if (paused && gap?.over) told();
      wake();
    },
  });
  function overflow() {
    full = true;
    line.stop();
    if (gap?.until) told();
    status(`Paused: ${count(KEPT)} events wait here, those after them in the hub.`, "held");
    wake();
  }
  /** Nothing more having come for a while, everything is caught up. */
  function quiet(ms) {
    clearTimeout(settle);
    settle = setTimeout(() => { if (gap?.until) { draw(take()); gap.over = true; told(); } }, ms);
  }
  function told() {
    const { from, back, caught, paused: held, complete } = gap;
    gap = null;
    clearTimeout(settle);
    note((held ? `More came while it was paused than the page holds; the other ${many(caught, "event")} were read from the hub.`
      : `Was disconnected for ${span(back - from)}; ${caught ? `caught up ${many(caught, "event")} of that time` : "no event had come meanwhile"}.`)
      + (complete === false ? " Older ones of that time are no longer kept by the hub." : "") + lasts());
    if (caught > KEPT) note(`The page shows the newest ${count(KEPT)} events; all of them are in the feed.`);
  }

  async function begin() {
    const mine = ++round;
    ring = new Ring();
    seen = new Seen();
    shown = []; held = []; pending = []; last = null; gap = null; full = false; total = counted = 0;
    status("Connecting…", "");
    line.start(types, null);
    return fill(mine);
  }
  /** What was before, so that a quiet hub does not look like a broken one. */
  async function fill(mine) {
    if (!can("feed")) return;
    try {
      const feed = await api(`feed/hour/current?limit=100${types ? `&types=${enc(types)}` : ""}`, { signal, payloads: true });
      if (mine !== round) return;
      const before = feed.events.map(e => ({ id: e.id, type: e.type, payload: JSON.stringify(e.payload), at: e.created_at })).reverse();
      if (gap?.until) gap.caught += before.filter(e => Date.parse(e.at) < gap.until && seen.isNew(e)).length;
      const now = ring.slots.concat(pending, held);
      ring = new Ring(); seen = new Seen(); shown = []; held = [];
      pending = before.concat(now).filter(event => seen.take(event));
      line.since = last ??= before.at(-1)?.id ?? null;
      total = 0;
      draw(take());
      rows.top();
      counted = total;
      wake();
    } catch (error) { if (error.status && mine === round) wrong.textContent = error.message; }
  }

  let typing;
  typesInput.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      const value = typesInput.value.split(",").map(t => t.trim()).filter(Boolean).join(",");
      const ok = !value || value.split(",").every(t => /^[A-Za-z0-9._*-]+(:[A-Za-z0-9._*-]+)*$/.test(t));
      wrong.textContent = ok ? "" : "Types are letters, digits and . _ - with colons between; * stands for anything.";
      if (ok) typesInput.removeAttribute("aria-invalid");
      else typesInput.setAttribute("aria-invalid", "true");
      if (ok && value !== types) { types = value; begin(); }
    }, 350);
  };
  textInput.oninput = () => {
    text = textInput.value.trim().toLowerCase();
    shown = ring.slots.filter(matches);
    rows.top();
    wake();
  };
  pause.onclick = () => {
    draw(take());
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", paused);
    if (!paused) {
      pending.push(...held);
      held = [];
      draw(take());
      rows.top();
      if (full) {
        full = false;
        gap = { from: Date.now(), paused: true };
        line.start(types, last);
      }
    }
    wake();
  };
  newer.onclick = () => { if (paused) pause.click(); rows.top(); wake(); };

  const timer = setInterval(() => {
    const rate = Math.max(0, total - counted), here = ring.slots.length;
    counted = total;
    const kept = total > here ? `the newest ${count(here)} of ${many(total, "event")}` : `${many(here, "event")} here`;
    figures.textContent = `${count(rate)} a second · ${text ? `${count(shown.length)} of ${many(here, "event")} here have this text` : kept}`;
  }, 1000);
  signal.addEventListener("abort", () => { clearInterval(timer); clearTimeout(settle); clearTimeout(typing); rows.close(); line.stop(); });
  if (can("register", "ops")) api("register", { signal }).then(({ types: all }) => { keepsAll = all.every(ty => ty.ttl !== "ephemeral"); }, () => {});
  begin();
}
