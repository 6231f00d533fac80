// Streams: where events go, and what waits; what fails or is paused stands first.
import { api, can, enc, every } from "./api.js";
import { finder, h, head, keyed, pill, ROWS, show, table } from "./dom.js";
import stream from "./stream.js";
import { attempt, confirm, say } from "./talk.js";
import { count, figure, many, span } from "./words.js";

export const title = "Streams";
const ORDER = { failing: 0, paused: 1, draining: 2, active: 3 };
export const pathOf = s => `streams/${enc(s.type)}/${enc(s.name)}`;

/** Delivered events and failed attempts a second, of each stream, between looks; nothing (`null`) until there are two. */
export function throughput() {
  const before = new Map();
  return s => {
    const key = pathOf(s), now = performance.now(), was = before.get(key);
    if (was && now - was.at < 1500) return was.rate;
    const of = name => Math.max(0, s[name] - was[name]) * 1000 / (now - was.at);
    const rate = was ? { delivered: of("delivered"), failed: of("failed") } : null;
    before.set(key, { at: now, delivered: s.delivered, failed: s.failed, rate });
    return rate;
  };
}
/** How full its mailbox is. */
export const mailbox = s => h("span", { class: "box" },
  h("meter", { min: 0, max: s.mailbox.limit, high: s.mailbox.limit * .9, value: s.mailbox.length, "aria-label": `Mailbox of ${s.name}` }), " ",
  h("span", { class: "small" }, `${count(s.mailbox.length)} / ${count(s.mailbox.limit)}`));

/** The button that pauses or resumes a stream, and calls `after`. */
export function switchOf(s, after) {
  if (s.state === "draining") return null;
  const to = s.state === "paused" ? "active" : "paused";
  const work = async () => {
    const text = `Stream ${s.name} of ${s.type} delivers nothing until it is resumed. Events still wait for it; ${many(s.backlog, "event")} ${s.backlog === 1 ? "does" : "do"} now.`;
    if (to === "paused" && !await confirm(`Pause ${s.name}?`, text, `Pause ${s.name}`, false)) return;
    await attempt(async () => { await api(pathOf(s), { method: "PATCH", body: { state: to } }); say(`${s.name} is ${to}.`); });
    await attempt(after);
  };
  return h("button", { class: "little", onclick: work }, to === "paused" ? "Pause" : "Resume", h("span", { class: "hide" }, ` ${s.name}`));
}

export default function streams(root, [type, name], signal) {
  if (name) return stream(root, { type, name }, signal);
  const rate = throughput();
  let all = null, wanted = "";
  const sub = h("p", null, "Where events go, and what waits.");
  const body = h("div", { class: "form" }, h("p", { class: "soft" }, "Reading…"));
  const find = finder("Find a stream", () => { wanted = find.value.trim().toLowerCase(); if (all) draw(); });
  root.append(h("div", { class: "head" }, h("div", null, h("h1", null, "Streams"), sub), find), body);
  const refresh = async () => {
    ({ streams: all } = await api("streams", { signal }));
    // By name within a state, so that no row runs away from under a finger.
    all.sort((a, b) => ORDER[a.state] - ORDER[b.state] || a.type.localeCompare(b.type) || a.name.localeCompare(b.name));
    draw();
  };
  const row = s => {
    const to = `#/${pathOf(s)}`;
    return keyed(pathOf(s), [
      [h("a", { href: to }, s.name), h("span", { class: "sub" }, `${s.type} · ${s.source}`), s.last_error && s.state !== "active" ? h("span", { class: "err" }, s.last_error) : null],
      pill(s.state), count(s.backlog), s.backlog ? span(s.oldest_age_ms) : "–", figure(rate(s)?.delivered), mailbox(s),
      s.dead ? h("a", { href: to, "aria-label": `${many(s.dead, "dead letter")} of ${s.name}` }, count(s.dead)) : "0", switchOf(s, refresh)]);
  };
  function draw() {
    const found = all.filter(s => `${s.type} ${s.name} ${s.state} ${s.source}`.toLowerCase().includes(wanted));
    const states = Object.keys(ORDER).map(state => [all.filter(s => s.state === state).length, state]).filter(([n]) => n);
    sub.textContent = all.length ? `${many(all.length, "stream")}: ${states.map(([n, state]) => `${count(n)} ${state}`).join(", ")}.` : "Where events go, and what waits.";
    show(body, h("section", { class: "card flush" },
      all.length ? table("Streams", ["Stream", "State", "#Backlog", "#Oldest", "#Delivered a second", "Mailbox", "#Dead", ""], found.slice(0, ROWS).map(row))
        : h("p", { class: "empty" }, "No type has a stream. ", can("register") ? h("a", { href: "#/types" }, "Register one.") : null),
      all.length && !found.length ? h("p", { class: "empty" }, "No stream has this in its name, type or state.") : null,
      found.length > ROWS ? h("p", { class: "soft small" }, `${many(found.length - ROWS, "more stream")}: find them by name, type or state.`) : null));
  }
  every(2500, signal, refresh);
}
