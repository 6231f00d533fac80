// Types: the list with rates, what was discarded, a test event of each.
import { api, can, enc, every } from "./api.js";
import { finder, h, head, keyed, ROWS, show, table } from "./dom.js";
import register from "./register.js";
import { sendTest } from "./send.js";
import { attempt, confirm, say } from "./talk.js";
import { count, figure, kept, many, stamp } from "./words.js";

export const title = "Types";
const SUB = "What may be sent, for how long it is kept, and where it goes.";

export default function types(root, [what, name], signal) {
  if (what === "new" || what === "edit") return register(root, what === "edit" ? name : null, what === "new" ? name : null, signal);
  const rate = rates();
  let known = null, wanted = "";
  const body = h("div", { class: "form" }, h("p", { class: "soft" }, "Reading…"));
  const find = finder("Find a type", () => { wanted = find.value.trim().toLowerCase(); if (known) draw(); });
  root.append(head("Types", SUB, find, can("register") ? h("a", { class: "button main", href: "#/types/new" }, "Register a type") : null), body);

  const refresh = async () => {
    const [{ types: all }, counts, { discarded }] = await Promise.all([
      api("register", { signal }),
      can("ops") ? api("counts", { signal }) : null,
      can("ops") ? api("discarded", { signal }) : { discarded: [] },
    ]);
    if (counts) rate.look(counts);
    known = { all, counts, discarded };
    draw();
  };
  function draw() {
    const { all, counts, discarded } = known;
    const found = all.filter(ty => ty.type.toLowerCase().includes(wanted));
    show(body,
      h("section", { class: "card flush" }, all.length
        ? [table("Registered types", ["Type", "Kept", ...(counts ? ["#Events a second", "#Since start"] : []), "Streams", ""], found.slice(0, ROWS).map(ty => row(ty, counts)))]
        : h("p", { class: "empty" }, "No type is registered. Events of unregistered types are discarded", can("ops") ? " and listed below." : "."),
      all.length && !found.length ? h("p", { class: "empty" }, "No type has this in its name.") : null,
      found.length > ROWS ? h("p", { class: "soft small" }, `${many(found.length - ROWS, "more type")}: find them by name.`) : null),
      can("ops") ? h("section", { class: "card flush" }, h("h2", null, "Discarded"), h("p", { class: "soft small" }, "Sent, but never registered: a misspelling, or a type that somebody forgot."),
        discarded.length ? table("Discarded types", ["Type", "#Events", "Last", ""], discarded.slice(0, ROWS).map(d => keyed(d.type, [h("b", null, d.type), count(d.count), stamp(d.last_at),
          can("register") ? h("a", { class: "button little", href: `#/types/new/${enc(d.type)}` }, "Register this", h("span", { class: "hide" }, `: ${d.type}`)) : ""])))
          : h("p", { class: "empty" }, "Nothing was discarded.")) : null);
  }
  const way = (ty, s) => (can("ops") ? h("a", { class: "sub", href: `#/streams/${enc(ty.type)}/${enc(s.name)}` }, s.name) : h("span", { class: "sub" }, s.name));
  const row = (ty, counts) => keyed(ty.type, [
    can("live") ? h("a", { href: `#/live/${enc(ty.type)}`, title: "Watch its events as they come" }, h("b", null, ty.type)) : h("b", null, ty.type),
    h("span", { class: "box" }, kept(ty.ttl)),
    ...(counts ? [figure(rate.of(ty.type)), count(counts.accepted[ty.type] || 0)] : []),
    ty.streams.length ? ty.streams.map(s => way(ty, s)) : h("span", { class: "soft" }, "none"),
    [can("send") ? h("button", { class: "little", onclick: () => sendTest(ty.type) }, "Send test", h("span", { class: "hide" }, ` event of ${ty.type}`)) : null,
      can("register") ? [h("a", { class: "button little", href: `#/types/edit/${enc(ty.type)}` }, "Edit", h("span", { class: "hide" }, ` ${ty.type}`)),
        h("button", { class: "little danger", onclick: () => remove(ty, refresh) }, "Delete", h("span", { class: "hide" }, ` ${ty.type}`))] : null],
  ]);
  every(5000, signal, refresh);
}

/** Events a second of each type, between two looks; nothing (`null`) until there are two. */
function rates() {
  let before = null, now = null;
  return {
    look({ at, accepted }) {
      before = now;
      now = { at: Date.parse(at), accepted };
    },
    of(type) {
      const ms = before ? now.at - before.at : 0;
      // A hub that started anew counts from nothing.
      return ms > 0 ? Math.max(0, (now.accepted[type] || 0) - (before.accepted[type] || 0)) * 1000 / ms : null;
    },
  };
}

async function remove(ty, refresh) {
  const text = [`Events of ${ty.type} that are sent from now on are discarded. Stored ones stay readable for their lifetime (${kept(ty.ttl)}).`];
  if (ty.streams.length) {
    let waits = `what waits for ${ty.streams.length === 1 ? "it" : "them"}`;
    if (can("ops")) {
      const all = await attempt(() => Promise.all(ty.streams.map(s => api(`streams/${enc(ty.type)}/${enc(s.name)}`))));
      if (!all) return;
      const n = all.reduce((sum, s) => sum + s.backlog, 0);
      waits = `the ${many(n, "event")} that ${n === 1 ? "waits" : "wait"} for ${all.length === 1 ? "it" : "them"}`;
    }
    text.push(ty.streams.length === 1 ? `Its stream ${ty.streams[0].name} still delivers ${waits}, and then is gone.`
      : `Its ${ty.streams.length} streams still deliver ${waits}, and then are gone.`);
  }
  if (await confirm(`Delete the type ${ty.type}?`, text, `Delete ${ty.type}`)) {
    await attempt(async () => { await api(`register/${enc(ty.type)}`, { method: "DELETE" }); say(`${ty.type} is deleted.`); });
    await attempt(refresh);
  }
}
