// Nodes and store: who is up, and what the events are kept in.
import { api, every } from "./api.js";
import { fact, h, head, keyed, pill, show, table } from "./dom.js";
import { count, many, size, span, stamp } from "./words.js";

export const title = "Nodes and store";
export default function nodes(root, _, signal) {
  show(root, head("Nodes and store", "Who is up, and what holds the events."), h("p", { class: "soft" }, "Reading…"));
  every(5000, signal, async () => {
    const silent = error => { if (error.name === "AbortError") throw error; return { error: error.message, servers: [] }; };
    const [{ nodes: all }, store] = await Promise.all([api("nodes", { signal }), api("store", { signal }).catch(silent)]);
    const versions = new Set(all.map(n => n.version));
    show(root,
      head("Nodes and store", `${many(all.length, "hub")} on this store.`),
      versions.size > 1 ? h("p", { class: "note warn" }, `The hubs run different versions: ${[...versions].join(", ")}.`) : null,
      h("section", { class: "card flush" }, h("h2", null, "Nodes"),
        table("Nodes", ["Node", "State", "Version", "Since", "#Seen", "#Sessions", "#Requests", "#In flight", "#In memory"], all.map(node))),
      store.error ? h("p", { class: "note bad" }, `The store does not say how it is: ${store.error}`) : null,
      store.kind === "embedded" ? h("section", { class: "card" }, h("h2", null, "Store"),
        h("dl", { class: "facts" }, fact("Kind", "embedded, on this machine's disk"), fact("Free on the disk", size(store.disk_free)), fact("Each write", "on disk before its 202 answer"))) : null,
      h("div", { class: "two" }, store.servers.map(server)));
  });
}

const node = n => keyed(n.id, [
  [h("b", null, n.host || n.id), n.self ? h("span", { class: "small soft" }, " this one") : null,
    h("span", { class: "sub" }, n.public_url || n.addresses.join(", ")), h("span", { class: "sub mono" }, n.id)],
  pill(n.state), n.version, [stamp(n.since).slice(0, 19), h("span", { class: "sub" }, `up ${span(Date.now() - Date.parse(n.since))}`)],
  `${span(n.seen_age_ms)} ago`, count(n.sessions), count(n.requests), count(n.in_flight), count(n.waiting)]);

const server = s => h("section", { class: "card", "aria-label": `Redis ${s.address}`, "data-key": s.address }, h("h2", null, `Redis ${s.address}`),
  s.error ? h("p", { class: "note bad" }, s.error) : [
    h("dl", { class: "facts" }, fact("Version", s.version), fact("Memory", `${size(s.memory_used)}${s.memory_limit ? ` of ${size(s.memory_limit)}` : ""}`),
      fact("Clients", count(s.clients)), fact("Replicas", count(s.replicas))),
    s.memory_limit ? h("meter", { min: 0, max: s.memory_limit, high: s.memory_limit * .8, value: s.memory_used, "aria-label": `Memory used of ${s.address}` })
      : h("p", { class: "soft small" }, "No maxmemory: it may take all the memory of its machine."),
    s.warnings.length ? h("ul", { class: "needs" }, s.warnings.map(w => h("li", null, h("b", null, "Look"), h("span", null, h("code", null, `${w.setting} ${w.is}`), `: ${w.risk}.`))))
      : h("p", { class: "well" }, "It keeps what a 202 promises.")]);
