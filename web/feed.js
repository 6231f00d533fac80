// Feed: stored events, slice by slice, as anybody or as one client.
import { api, attempt, count, enc, fact, h, head, href, many, millis, session, show, showEvent, span, stamp, table } from "./base.js";

export const title = "Feed";
export default function feed(root, _, signal) {
  const slice = h("input", { value: "hour", list: "slices", id: "feed-slice", spellcheck: "false" });
  const at = h("input", { type: "datetime-local", step: 1, id: "feed-at" });
  const types = h("input", { placeholder: "every type", id: "feed-types", spellcheck: "false" });
  const client = h("input", { placeholder: "nobody", id: "feed-client", spellcheck: "false", value: session.client || "", readonly: session.client ? true : null });
  const status = h("select", { id: "feed-status" }, h("option", { value: "" }, "not processed"), h("option", { value: "processed" }, "processed"), h("option", { value: "all" }, "all"));
  const out = h("div", { class: "form", "aria-live": "polite" });
  let here = null;

  const begin = () => {
    const when = at.value ? new Date(at.value).toISOString() : "current";
    const query = new URLSearchParams({ limit: 100 });
    if (types.value.trim()) query.set("types", types.value.trim());
    if (client.value.trim() && status.value) query.set("status", status.value);
    return go(`feed/${enc(slice.value.trim())}/${enc(when)}${client.value.trim() ? `/client/${enc(client.value.trim())}` : ""}?${query}`);
  };
  async function go(path) {
    here = path;
    try {
      const page = await api(path.replace("/api/events/", ""), { signal, payloads: true });
      const who = client.value.trim();
      const lag = who ? await attempt(() => api(`clients/${enc(who)}${types.value.trim() ? `?types=${enc(types.value.trim())}` : ""}`, { signal })) : null;
      draw(page, who, lag);
    } catch (error) {
      if (error.name !== "AbortError") show(out, h("p", { class: "note bad" }, error.message));
    }
  }
  function draw(page, who, lag) {
    const self = href(page.links, "self") || here;
    const [, unit, from] = self.match(/feed\/([^/]+)\/([^/?]+)/) || [];
    const step = (rel, words) => { const to = href(page.links, rel); return h("button", { type: "button", disabled: !to, onclick: () => go(to) }, words); };
    const mark = (event, method) => attempt(async () => { await api(`${event.id}/ok/${enc(who)}`, { method }); await go(here); });
    const oldest = lag && href(lag.links, "next-unprocessed");
    show(out,
      lag ? h("section", { class: "card", "aria-label": `Lag of ${who}` }, h("div", { class: "head" }, h("h2", null, `Client ${who}`), oldest ? h("button", { type: "button", class: "little", onclick: () => go(oldest) }, "To the oldest unprocessed") : null),
        h("dl", { class: "facts" }, fact("Waiting for it", many(lag.pending, "event")), fact("The oldest waits", lag.pending ? span(lag.oldest_age_ms) : "–"),
          Object.entries(lag.types).slice(0, 8).map(([ty, n]) => fact(ty, count(n))))) : null,
      h("section", { class: "card flush", "aria-label": "Events" },
        h("div", { class: "head" }, h("h2", null, `${unit}, from ${from ? stamp(decodeURIComponent(from)).slice(0, 19) : ""}`),
          h("div", { class: "row" }, step("prev", "← Before"), step("current", "Now"), step("next", "After →"))),
        page.events.length ? table("Events", who ? ["Created", "Type", "Payload", "Id", ""] : ["Created", "Type", "Payload", "Id"], page.events.map(e => {
          const text = JSON.stringify(e.payload);
          const row = [h("span", { class: "num", title: e.created_at }, millis(e.created_at)), h("b", null, e.type), h("code", null, text.length > 140 ? `${text.slice(0, 140)}…` : text),
            h("button", { type: "button", class: "little quiet mono", onclick: () => showEvent(e.id) }, e.id)];
          if (who) row.push(e.processed_at
            ? [h("span", { class: "small soft" }, `processed ${stamp(e.processed_at).slice(5, 19)} `), h("button", { type: "button", class: "little", onclick: () => mark(e, "DELETE") }, "Take back", h("span", { class: "hide" }, ` the mark of ${e.id}`))]
            : h("button", { type: "button", class: "little", onclick: () => mark(e, "PUT") }, "Mark processed", h("span", { class: "hide" }, `: ${e.id}`)));
          row.key = e.id;
          return row;
        })) : h("p", { class: "empty" }, who ? "Nothing here for this client." : "No event in this slice."),
        href(page.links, "more") ? h("p", null, step("more", "Older ones of this slice")) : null));
  }

  root.append(head("Feed", "Stored events, slice by slice."),
    h("form", { class: "card filter", onsubmit: event => { event.preventDefault(); begin(); } },
      h("label", { for: "feed-slice", class: "tight" }, "Slice", slice), h("datalist", { id: "slices" }, ["minute", "15minutes", "hour", "6hours", "day", "week", "month"].map(v => h("option", { value: v }))),
      h("label", { for: "feed-at" }, h("span", null, "At ", h("small", null, "empty: now")), at), h("label", { for: "feed-types" }, "Types", types),
      h("label", { for: "feed-client" }, "As client", client), h("label", { for: "feed-status", class: "tight" }, "Show", status), h("button", { class: "main" }, "Show")),
    out);
  slice.onchange = status.onchange = begin;
  begin();
}
