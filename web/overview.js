// Overview: what needs somebody, and how the hub did for a quarter of an hour.
import { api, clock, count, enc, every, figure, h, head, many, show, span } from "./base.js";
import { tile } from "./chart.js";

/** Since when is told as how long: "fails since 2018-…" is "fails for 12 min (since 11:12:01)". */
const words = text => text.replace(/ since (\d{4}-\d\d-\d\dT[\d:.]+Z)/, (_, at) => ` for ${span(Math.max(0, Date.now() - Date.parse(at)))} (since ${clock(at)})`);

export const title = "Overview";
export default function overview(root, _, signal) {
  show(root, head("Overview", "How this node does."), h("p", { class: "soft" }, "Reading…"));
  every(5000, signal, async () => {
    const o = await api("overview", { signal });
    const { now, history: all } = o, last = all.at(-1) || {};
    const streams = Object.entries(now.streams).filter(([, n]) => n > 0).map(([state, n]) => `${n} ${state}`).join(", ");
    show(root,
      head("Overview", `Version ${o.version}, ${o.ready ? "ready" : "not ready"}. Since its start: ${many(now.accepted, "event")} accepted, ${count(now.delivered)} delivered.`),
      h("section", { class: "card", "aria-labelledby": "needs" },
        h("h2", { id: "needs" }, "What needs attention"),
        h("div", { "aria-live": "polite" }, o.attention.length
          ? h("ul", { class: "needs" }, o.attention.map(n => h("li", { class: n.level },
            h("b", null, n.level === "error" ? "Broken" : "Look"), h("span", null, words(n.text)),
            n.stream ? h("a", { href: `#/streams/${enc(n.type)}/${enc(n.stream)}`, "aria-label": `Stream ${n.stream} of ${n.type}` }, "Open") : null)))
          : h("p", { class: "well" }, "Nothing: every stream delivers, nothing is stuck."),
        o.attention_more ? h("p", { class: "soft" }, `And ${many(o.attention_more, "more thing")}.`) : null)),
      h("div", { class: "grid tiles" },
        tile("Events", figure(last.accepted), "a second", all, [{ name: "accepted", of: s => s.accepted }, { name: "discarded", of: s => s.discarded, kind: "b" }], figure),
        tile("Deliveries", figure(last.delivered), "a second", all, [{ name: "delivered", of: s => s.delivered }, { name: "failed", of: s => s.failed, kind: "bad" }], figure),
        tile("Backlog", count(now.backlog), now.oldest_age_ms ? `oldest ${span(now.oldest_age_ms)}` : "waiting", all, [{ name: "events waiting", of: s => s.backlog }], count),
        tile("Commit latency", figure(last.commit_p50_ms), "ms, half of the writes", all, [{ name: "p50", of: s => s.commit_p50_ms }, { name: "p99", of: s => s.commit_p99_ms, kind: "b" }], v => (v === null ? "–" : `${figure(v)} ms`)),
        tile("Live sessions", count(now.sessions), "open", all, [{ name: "sessions", of: s => s.sessions }], count),
        h("section", { class: "card tile", "aria-label": "Streams" }, h("h2", null, "Streams"),
          h("p", { class: "big" }, count(Object.values(now.streams).reduce((a, b) => a + b, 0)), h("small", null, streams || "none registered")),
          h("dl", { class: "facts" },
            h("div", null, h("dt", null, "In flight"), h("dd", null, count(now.in_flight))),
            h("div", null, h("dt", null, "Failed attempts"), h("dd", null, count(now.failed))),
            h("div", null, h("dt", null, "Dead letters"), h("dd", null, count(now.dead))),
            h("div", null, h("dt", null, "Discarded"), h("dd", null, count(now.discarded)))),
          h("p", null, h("a", { href: "#/streams" }, "All streams")))));
  });
}
