// Overview: what needs somebody, and how the hub did for a quarter of an hour.
import { api, can, enc, every } from "./api.js";
import { tile } from "./chart.js";
import { fact, h, head, show } from "./dom.js";
import { clock, count, figure, many, size, span } from "./words.js";

export const title = "Overview";

/** The share of its memory from which a Redis is worth a word, and the bytes of free disk below which the embedded store is. */
const NEAR = 0.8, ROOM = 1 << 30;
/** Since when is told as how long: "failed since 2018-…" is "failed for 12 min (since 11:12:01)". */
const words = text => text.replace(/ since (\d{4}-\d\d-\d\dT[\d:.]+Z)/, (_, at) => ` for ${span(Math.max(1000, Date.now() - Date.parse(at)))} (since ${clock(at)})`);

export default function overview(root, _, signal) {
  // Screen readers hear of it when something else needs somebody, not of each second that it goes on.
  const told = h("p", { class: "hide", role: "status" });
  const page = h("div", { class: "form" });
  root.append(page, told);
  show(page, head("Overview", "How this hub does."), h("p", { class: "soft" }, "Reading…"));
  let heard = null, around = { needs: [] }, look = 0;
  every(5000, signal, async () => {
    const o = await api("overview", { signal });
    // What changes seldom is asked for seldom.
    if (look++ % 6 === 0) around = await surroundings(signal, around);
    const needs = [...o.attention, ...around.needs];
    draw(page, o, needs, around);
    const what = needs.map(n => `${n.what} ${n.type} ${n.stream}`).join();
    if (what !== heard) told.textContent = needs.length ? `${many(needs.length, "thing")} ${needs.length === 1 ? "needs" : "need"} attention` : "Nothing needs attention";
    heard = what;
  });
}

/** The other hubs, and what the store should be set to; as it was where they do not say. */
async function surroundings(signal, before) {
  const none = error => { if (error.name === "AbortError") throw error; return null; };
  const [nodes, store] = await Promise.all([api("nodes", { signal }).catch(none), api("store", { signal }).catch(none)]);
  const needs = store ? needsOf(store).map(n => ({ ...n, to: "#/nodes" })) : before.needs;
  return { nodes: nodes?.nodes || before.nodes, needs };
}

/** What is to be changed about the store, or soon will be. */
function needsOf(store) {
  const needs = [], wrong = new Map();
  const add = (level, what, text) => needs.push({ level, what, text });
  for (const s of store.servers) {
    const name = `Redis ${s.address}`;
    if (s.error) { add("error", "store", `${name} does not answer: ${s.error}.`); continue; }
    if (s.memory_limit && s.memory_used > NEAR * s.memory_limit) {
      const then = s.warnings.some(w => w.setting === "maxmemory-policy") ? "" : "; at the limit sends are refused";
      add("warning", "memory", `${name} takes ${size(s.memory_used)} of at most ${size(s.memory_limit)}${then}.`);
    }
    for (const w of s.warnings) {
      const what = `${w.setting} ${w.is}: ${w.risk}`;
      wrong.set(what, [...(wrong.get(what) || []), name]);
    }
  }
  // Masters of a cluster are mostly set up alike, and wrongly alike.
  for (const [what, who] of wrong) add("warning", what, `${who.length === 1 ? `${who[0]} has` : `${who.length} Redis servers have`} ${what}.`);
  if (store.disk_free !== null && store.disk_free < ROOM) add("warning", "disk", `Only ${size(store.disk_free)} are free on the store's disk; without room sends are refused.`);
  return needs;
}

function draw(root, o, needs, { nodes }) {
  const { now, history: all } = o, last = all.at(-1) || {};
  const states = Object.entries(now.streams).filter(([, n]) => n > 0);
  const streams = states.length === 1 ? `${states[0][1] > 1 ? "all " : ""}${states[0][0]}` : states.map(([state, n]) => `${count(n)} ${state}`).join(", ");
  // What is counted, not timed, is known as of now.
  const counted = [...all, { at: o.at, backlog: now.backlog, sessions: now.sessions }].slice(-181);
  const oldest = now.oldest_age_ms ? `, the oldest for ${span(now.oldest_age_ms)}` : "";
  const waiting = now.backlog ? `${now.backlog === 1 ? "event waits" : "events wait"}${oldest}` : "nothing waits";
  const self = nodes?.find(n => n.self);
  const about = [`Version ${o.version}`, self ? `up ${span(Date.now() - Date.parse(self.since))}` : null, `${many(now.accepted, "event")} accepted`, `${count(now.delivered)} delivered`];
  show(root,
    head("Overview", about.filter(Boolean).join(" · "),
      nodes?.length > 1 ? h("p", { class: "small" }, `${self?.host || "This hub"}, `, h("a", { href: "#/nodes" }, `one of ${nodes.length} hubs`), "; backlog and streams are of all.") : null),
    h("section", { class: "card", "aria-labelledby": "needs" },
      h("h2", { id: "needs" }, "What needs attention"),
      needs.length ? h("ul", { class: "needs" }, needs.map(need)) : h("p", { class: "well" }, "Nothing: every stream delivers, nothing is stuck."),
      !now.accepted && !states.length ? h("p", { class: "soft begin" }, "Nothing has been sent here yet. ", can("register") ? h("a", { href: "#/types/new" }, "Register a type to begin") : null) : null,
      o.attention_more ? h("p", { class: "soft" }, `And ${many(o.attention_more, "more thing")}.`) : null),
    h("div", { class: "grid tiles" },
      tile("Events", figure(last.accepted), "a second", all, [{ name: "accepted", of: s => s.accepted }, { name: "discarded", of: s => s.discarded, kind: "b" }], figure),
      tile("Deliveries", figure(last.delivered), "a second", all, [{ name: "delivered", of: s => s.delivered }, { name: "failed", of: s => s.failed, kind: "bad" }], figure),
      tile("Backlog", count(now.backlog), waiting, counted, [{ name: "waiting", of: s => s.backlog }], count),
      tile("Commit latency", figure(last.commit_p50_ms), "ms, the median", all,
        [{ name: "median", of: s => s.commit_p50_ms }, { name: "99 of 100", of: s => s.commit_p99_ms, kind: "b" }], v => (v === null ? "–" : `${figure(v)} ms`)),
      tile("Live sessions", count(now.sessions), "open", counted, [{ name: "open", of: s => s.sessions }], count),
      h("section", { class: "card tile", "aria-label": "Streams" }, h("h2", null, "Streams"),
        h("p", { class: "big" }, count(Object.values(now.streams).reduce((a, b) => a + b, 0)), h("small", null, streams || "none registered")),
        h("dl", { class: "facts" }, fact("Requests now", count(now.in_flight)), fact("Failed attempts", count(now.failed)),
          fact("Dead letters", count(now.dead)), fact("Discarded", count(now.discarded))),
        h("p", { class: "row" }, h("a", { href: "#/streams" }, "All streams"), h("a", { href: "#/types" }, "All types")))),
    h("p", { class: "soft small" }, "Everything here comes from the API: ", h("a", { href: "docs" }, "its documentation"), ", ",
      h("a", { href: "openapi.json" }, "OpenAPI"), ", ", h("a", { href: "metrics" }, "metrics"), "."));
}
function need(n) {
  const to = n.to || (n.stream ? `#/streams/${enc(n.type)}/${enc(n.stream)}` : null);
  return h("li", { class: n.level, "data-key": `${n.what} ${n.type} ${n.stream} ${n.text.slice(0, 20)}` },
    h("b", null, n.level === "error" ? "Broken" : "Look"), h("span", null, words(n.text)),
    to ? h("a", { href: to, "aria-label": n.stream ? `Open stream ${n.stream} of ${n.type}` : "Open nodes and store" }, "Open") : null);
}
