// Feed: stored events, slice by slice, as anybody or as one client.
import { api, can, curl, enc, href, session } from "./api.js";
import { fact, h, head, keyed, show, table } from "./dom.js";
import { findEvent, showEvent } from "./event.js";
import { attempt, copy } from "./talk.js";
import { count, many, millis, span, stamp } from "./words.js";

export const title = "Feed";
/** Types of which a client's lag is told one by one. */
const TOLD = 8;

export default function feed(root, _, signal) {
  const slice = h("input", { value: "hour", list: "slices", id: "feed-slice", spellcheck: "false" });
  const at = h("input", { type: "datetime-local", step: 1, id: "feed-at" });
  const types = h("input", { placeholder: "every type", id: "feed-types", spellcheck: "false" });
  const client = h("input", { placeholder: "nobody", id: "feed-client", spellcheck: "false", value: session.client || "", readonly: session.client ? true : null });
  const status = h("select", { id: "feed-status" }, h("option", { value: "" }, "not processed"), h("option", { value: "processed" }, "processed"), h("option", { value: "all" }, "all"));
  const wrong = h("p", { class: "note bad", role: "alert", hidden: true });
  const told = h("p", { class: "hide", role: "status" });
  const out = h("div", { class: "form" });
  let here = null, round = 0;

  const begin = () => {
    const when = at.value ? new Date(at.value).toISOString() : "current";
    const query = new URLSearchParams({ limit: 100 });
    if (types.value.trim()) query.set("types", types.value.trim());
    if (client.value.trim() && status.value) query.set("status", status.value);
    return go(`feed/${enc(slice.value.trim())}/${enc(when)}${client.value.trim() ? `/client/${enc(client.value.trim())}` : ""}?${query}`);
  };
  async function go(path) {
    const mine = ++round;
    here = path.replace("/api/events/", "");
    try {
      const page = await api(here, { signal, payloads: true });
      const who = client.value.trim();
      const lag = who ? await attempt(() => api(`clients/${enc(who)}${types.value.trim() ? `?types=${enc(types.value.trim())}` : ""}`, { signal })) : null;
      // Somebody who is quick asks for the next before this one has come.
      if (mine !== round) return;
      wrong.hidden = true;
      draw(page, who, lag);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401 || mine !== round) return;
      wrong.hidden = false;
      wrong.textContent = error.message;
      show(out);
    }
  }
  function draw(page, who, lag) {
    const self = href(page.links, "self") || here;
    const [, unit, from] = self.match(/feed\/([^/]+)\/([^/?]+)/) || [];
    const step = (rel, words) => {
      const to = href(page.links, rel);
      return h("button", { type: "button", disabled: !to, onclick: () => go(to) }, words);
    };
    const name = `${unit[0].toUpperCase()}${unit.slice(1)} from ${stamp(decodeURIComponent(from)).slice(0, 19)}`;
    told.textContent = `${name}: ${many(page.events.length, "event")}`;
    show(out,
      lag ? lagOf(who, lag) : null,
      h("section", { class: "card flush", "aria-label": "Events" },
        h("div", { class: "head" }, h("h2", null, name),
          h("div", { class: "row" }, step("prev", "← Before"), step("current", "Now"), step("next", "After →"),
            h("button", { type: "button", class: "quiet", onclick: () => copy(curl(here), "The command") }, "Copy as curl"))),
        page.events.length ? table("Events", who ? ["Created", "Type", "Payload", "Id", ""] : ["Created", "Type", "Payload", "Id"], page.events.map(e => row(e, who)))
          : h("p", { class: "empty" }, who ? "Nothing here for this client." : "No event in this slice. Go to the one before, or choose a longer one."),
        href(page.links, "more") ? h("p", { class: "more" }, step("more", "Older ones of this slice")) : null));
  }
  function lagOf(who, lag) {
    const oldest = href(lag.links, "next-unprocessed"), all = Object.entries(lag.types).sort(([, a], [, b]) => b - a);
    return h("section", { class: "card", "aria-label": `Lag of ${who}` },
      h("div", { class: "head" }, h("h2", null, `Client ${who}`), oldest ? h("button", { type: "button", class: "little", onclick: () => go(oldest) }, "To the oldest unprocessed") : null),
      h("dl", { class: "facts" }, fact("Waiting for it", many(lag.pending, "event")), fact("The oldest waits", lag.pending ? span(lag.oldest_age_ms) : "–"),
        all.slice(0, TOLD).map(([ty, n]) => fact(ty, count(n))), all.length > TOLD ? fact(many(all.length - TOLD, "more type"), count(all.slice(TOLD).reduce((sum, [, n]) => sum + n, 0))) : null));
  }
  const mark = (event, who, method) => attempt(async () => { await api(`${event.id}/ok/${enc(who)}`, { method }); await go(here); });
  const row = (e, who) => {
    const text = JSON.stringify(e.payload);
    const cells = [h("span", { class: "num", title: e.created_at }, millis(e.created_at)), h("b", null, e.type), h("code", { class: "cut" }, text.length > 140 ? `${text.slice(0, 140)}…` : text),
      h("button", { type: "button", class: "id", onclick: () => showEvent(e.id) }, e.id)];
    if (who) cells.push(e.processed_at
      ? [h("span", { class: "small soft" }, `processed ${stamp(e.processed_at).slice(5, 19)} `),
        h("button", { type: "button", class: "little", onclick: () => mark(e, who, "DELETE") }, "Take back", h("span", { class: "hide" }, ` the mark of ${e.id}`))]
      : h("button", { type: "button", class: "little", onclick: () => mark(e, who, "PUT") }, "Mark processed", h("span", { class: "hide" }, `: ${e.id}`)));
    return keyed(e.id, cells);
  };

  root.append(head("Feed", "Stored events, slice by slice.", can("feed") ? h("button", { type: "button", onclick: findEvent }, "Find an event") : null),
    h("form", { class: "card filter", onsubmit: event => { event.preventDefault(); begin(); } },
      h("div", { class: "field tight" }, h("label", { for: "feed-slice" }, "Slice"), slice),
      h("datalist", { id: "slices" }, ["minute", "15minutes", "hour", "6hours", "day", "week", "month"].map(v => h("option", { value: v }))),
      h("div", { class: "field" }, h("label", { for: "feed-at" }, h("span", null, "At"), h("small", null, "empty: now")), at),
      h("div", { class: "field" }, h("label", { for: "feed-types" }, "Types"), types),
      h("div", { class: "field" }, h("label", { for: "feed-client" }, "As client"), client),
      h("div", { class: "field tight" }, h("label", { for: "feed-status" }, "Show"), status), h("button", { class: "main" }, "Show")),
    wrong, told, out);
  slice.onchange = status.onchange = begin;
  addEventListener("signedin", () => go(here), { signal });
  begin();
}
