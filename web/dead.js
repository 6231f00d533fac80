// Dead letters of a stream: what was given up and why, sent again or deleted, one or all.
import { api, href } from "./api.js";
import { h, keyed, show, table } from "./dom.js";
import { showEvent } from "./event.js";
import { attempt, confirm, say } from "./talk.js";
import { count, many, stamp } from "./words.js";

const PAGE = 50;

/** A section that shows them; `refresh(stream)` reads them again, `null` being a stream that is gone. */
export function letters(key, at, signal, after) {
  const root = h("section", { class: "card flush", "aria-label": "Dead letters" });
  let limit = PAGE, stream = null;
  const act = (method, tail, ids, word) => attempt(async () => {
    const { count: n } = await api(`${at}/dead${tail}`, { method, body: ids ? { ids } : {} });
    say(`${many(n, "dead letter")} ${word}.`);
    await after();
  });
  const drop = async (ids, n) => {
    const text = `${many(n, "event")} will never be delivered to ${key.name}. The ${n === 1 ? "event itself stays" : "events themselves stay"} in feeds for ${n === 1 ? "its" : "their"} lifetime.`;
    if (await confirm(`Delete ${many(n, "dead letter")}?`, text, `Delete ${many(n, "dead letter")}`)) await act("DELETE", "", ids, "deleted");
  };
  const all = async n => {
    const text = `${many(n, "event")} will be due at once for ${key.name}.`;
    if (await confirm(`Send ${many(n, "dead letter")} again?`, text, `Send ${many(n, "event")} again`, false)) await act("POST", "/retry", null, "sent again");
  };

  async function refresh(s) {
    stream = s;
    // A stream that is gone and has left none is not known any more.
    const page = await api(`${at}/dead?limit=${limit}`, { signal }).catch(error => { if (error.status === 404) return { dead: [] }; throw error; });
    const more = Boolean(href(page.links, "more"));
    const total = s ? s.dead : page.dead.length;
    const words = `${count(total)}${s || !more ? "" : " and more"}`;
    // Of a stream that is gone nobody knows how many there are past those that are shown.
    const whole = Boolean(s) || !more;
    const dropShown = () => (whole ? drop(null, total) : drop(page.dead.map(d => d.event.id), total));
    const showMore = () => { limit = Math.min(1000, limit + 200); attempt(() => refresh(stream)); };
    show(root,
      h("div", { class: "head" }, h("h2", null, `Dead letters (${words})`), page.dead.length ? h("div", { class: "row" },
        s ? h("button", { class: "little", onclick: () => all(total) }, `Retry all ${total > 1 ? count(total) : ""}`) : null,
        h("button", { class: "little danger", onclick: dropShown }, `Delete ${whole ? "all" : "these"} ${total > 1 ? count(total) : ""}`)) : null),
      page.dead.length ? table("Dead letters", ["Event", "Since", "#Attempts", "Reason", ""], page.dead.map(row)) : h("p", { class: "empty" }, "None: nothing was given up."),
      more ? h("p", { class: "more" }, h("button", { class: "little", onclick: showMore }, "Show more"), h("span", { class: "soft small" }, ` The first ${count(page.dead.length)} are shown.`)) : null);
  }
  const row = d => keyed(d.event.id, [
    h("button", { class: "id", onclick: () => showEvent(d.event.id) }, d.event.id), stamp(d.since), count(d.attempts), h("span", { class: "err" }, d.last_error), [
      stream ? h("button", { class: "little", onclick: () => act("POST", "/retry", [d.event.id], "sent again") }, "Retry", h("span", { class: "hide" }, ` ${d.event.id}`)) : null,
      h("button", { class: "little danger", onclick: () => drop([d.event.id], 1) }, "Delete", h("span", { class: "hide" }, ` ${d.event.id}`))]]);
  return { root, refresh };
}
