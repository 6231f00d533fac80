// Streams: how delivery does, and everything that can be done about it.
import { api, attempt, can, clock, confirm, count, enc, every, fact, field, figure, h, head, href, many, pill, say, show, showErrors, showEvent, span, stamp, table } from "./base.js";
import { tile } from "./chart.js";

export const title = "Streams";
const path = s => `streams/${enc(s.type)}/${enc(s.name)}`;
const hash = s => `#/streams/${enc(s.type)}/${enc(s.name)}`;

/** Delivered events a second, of each stream, between looks. */
function meterOf() {
  const before = new Map();
  return s => {
    const key = `${s.type} ${s.name}`, now = performance.now(), was = before.get(key);
    if (was && now - was.at < 1500) return was.rate;
    const rate = was ? Math.max(0, s.delivered - was.delivered) * 1000 / (now - was.at) : null;
    before.set(key, { at: now, delivered: s.delivered, rate });
    return rate;
  };
}
const box = s => [h("meter", { min: 0, max: s.mailbox.limit, high: s.mailbox.limit * .9, value: s.mailbox.length, "aria-label": "Mailbox" }), " ", h("span", { class: "small" }, `${count(s.mailbox.length)} / ${count(s.mailbox.limit)}`)];

async function setState(s, state) {
  if (state === "paused" && !await confirm(`Pause ${s.name}?`, `Stream ${s.name} of ${s.type} delivers nothing until it is resumed. Events still wait for it; ${many(s.backlog, "event")} do now.`, "Pause", false)) return;
  await attempt(async () => { await api(path(s), { method: "PATCH", body: { state } }); say(`${s.name} is ${state}.`); });
}
const switchOf = (s, after) => s.state === "draining" ? null : s.state === "paused"
  ? h("button", { class: "little", onclick: async () => { await setState(s, "active"); after(); } }, "Resume", h("span", { class: "hide" }, ` ${s.name}`))
  : h("button", { class: "little", onclick: async () => { await setState(s, "paused"); after(); } }, "Pause", h("span", { class: "hide" }, ` ${s.name}`));

export default function streams(root, [type, name], signal) {
  if (name) return one(root, { type, name }, signal);
  const rate = meterOf();
  show(root, head("Streams", "Where events go, and what waits."), h("p", { class: "soft" }, "Reading…"));
  const refresh = async () => {
    const { streams: all } = await api("streams", { signal });
    const order = { failing: 0, paused: 1, draining: 2, active: 3 };
    all.sort((a, b) => order[a.state] - order[b.state] || b.backlog - a.backlog || a.type.localeCompare(b.type));
    const rows = all.map(s => {
      const row = [
        [h("a", { href: hash(s) }, s.name), h("span", { class: "sub" }, `${s.type} · ${s.source}`), s.last_error && s.state !== "active" ? h("span", { class: "err" }, s.last_error) : null],
        pill(s.state), count(s.backlog), s.backlog ? span(s.oldest_age_ms) : "–", figure(rate(s)), box(s),
        s.dead ? h("a", { href: `${hash(s)}` }, count(s.dead)) : "0", switchOf(s, refresh),
      ];
      row.key = `${s.type} ${s.name}`;
      return row;
    });
    show(root, head("Streams", rows.length ? `${many(all.length, "stream")}; what fails or is paused first.` : null),
      h("section", { class: "card flush" }, rows.length ? table("Streams", ["Stream", "State", "#Backlog", "#Oldest", "#Delivered a second", "Mailbox", "#Dead", ""], rows)
        : h("p", { class: "empty" }, "No type has a stream. ", can("register") ? h("a", { href: "#/types" }, "Register one.") : null)));
  };
  every(2500, signal, refresh);
}

async function one(root, key, signal) {
  const rate = meterOf(), samples = [];
  const at = path(key);
  // Forms are made once, and stand beside what is refreshed.
  const top = h("div", { class: "form" }), attempts = h("section", { class: "card flush", "aria-label": "Attempts" }), dead = h("section", { class: "card flush", "aria-label": "Dead letters" });
  const now = () => attempt(refresh);
  const tuning = tune(key, at, now), again = replay(key, at, now);
  root.append(top, h("div", { class: "two" }, tuning.root, again), dead, attempts);

  let first = true;
  async function refresh() {
    let s;
    try { s = await api(at, { signal }); } catch (error) {
      if (error.status !== 404) throw error;
      show(top, head(key.name, "This stream is gone."), h("p", null, h("a", { href: "#/streams" }, "All streams")));
      tuning.root.hidden = again.hidden = attempts.hidden = true;
      await letters(null);
      return;
    }
    if (first) tuning.set(s);
    first = false;
    samples.push({ at: new Date().toISOString(), delivered: rate(s), backlog: s.backlog });
    if (samples.length > 360) samples.shift();
    show(top,
      head(s.name, h("span", null, pill(s.state), ` ${s.source} of `, h("b", null, s.type)), h("a", { class: "button little", href: "#/streams" }, "All streams"), switchOf(s, now),
        h("button", { class: "little danger", onclick: () => end(s) }, "Delete stream")),
      s.last_error ? h("p", { class: s.state === "failing" ? "note bad" : "note warn" }, `Last failure: ${s.last_error}`) : null,
      h("div", { class: "grid" },
        tile("Backlog", count(s.backlog), s.backlog ? `oldest ${span(s.oldest_age_ms)}` : "nothing waits", samples, [{ name: "events waiting", of: x => x.backlog }], count, 2.5),
        tile("Throughput", figure(samples.at(-1).delivered), "delivered a second", samples, [{ name: "delivered", of: x => x.delivered }], figure, 2.5),
        h("section", { class: "card tile" }, h("dl", { class: "facts" },
          fact("Delivered", count(s.delivered)), fact("Failed attempts", count(s.failed)), fact("Dead letters", count(s.dead)),
          fact("In flight", `${count(s.in_flight)} of ${count(s.concurrency)}`), fact("Mailbox", box(s)), fact("Oldest waits", s.backlog ? span(s.oldest_age_ms) : "–")))));
    await Promise.all([letters(s), tried()]);
  }

  async function letters(s) {
    const page = await api(`${at}/dead?limit=50`, { signal }).catch(error => { if (error.name === "AbortError") throw error; return { dead: [] }; });
    const more = href(page.links, "more");
    const total = s ? s.dead : page.dead.length;
    const act = async (method, tail, ids, word) => attempt(async () => {
      const { count: n } = await api(`${at}/dead${tail}`, { method, body: ids ? { ids } : {} });
      say(`${many(n, "dead letter")} ${word}.`);
      await refresh();
    });
    const drop = async (ids, n) => {
      if (await confirm(`Delete ${many(n, "dead letter")}?`, `${many(n, "event")} will never be delivered to ${key.name}. The ${n === 1 ? "event itself stays" : "events themselves stay"} in feeds for their lifetime.`, `Delete ${many(n, "dead letter")}`)) await act("DELETE", "", ids, "deleted");
    };
    const all = async () => { if (await confirm(`Send ${many(total, "dead letter")} again?`, `${many(total, "event")} will be due at once for ${key.name}.`, `Send ${many(total, "event")} again`, false)) await act("POST", "/retry", null, "sent again"); };
    show(dead, h("div", { class: "head" }, h("h2", null, `Dead letters (${count(total)})`), page.dead.length ? h("div", { class: "row" },
      h("button", { class: "little", onclick: all }, "Retry all"), h("button", { class: "little danger", onclick: () => drop(null, total) }, "Delete all")) : null),
    page.dead.length ? table("Dead letters", ["Event", "Since", "#Attempts", "Reason", ""], page.dead.map(d => {
      const row = [h("button", { class: "little quiet mono", onclick: () => showEvent(d.event.id) }, d.event.id), stamp(d.since), count(d.attempts), h("span", { class: "err" }, d.last_error), [
        h("button", { class: "little", onclick: () => act("POST", "/retry", [d.event.id], "sent again") }, "Retry", h("span", { class: "hide" }, ` ${d.event.id}`)),
        h("button", { class: "little danger", onclick: () => drop([d.event.id], 1) }, "Delete", h("span", { class: "hide" }, ` ${d.event.id}`))]];
      row.key = d.event.id;
      return row;
    })) : h("p", { class: "empty" }, "None: nothing was given up."), more ? h("p", { class: "soft" }, "The first 50 are shown; the buttons above are for all of them.") : null);
  }

  async function tried() {
    const { attempts: all } = await api(`${at}/attempts`, { signal });
    show(attempts, h("h2", null, "Attempts"), h("p", { class: "soft small" }, "Every failure, and one success a second; the newest first."),
      all.length ? table("Attempts", ["At", "Outcome", "#Status", "#Took", "Event", "Error"], all.slice(0, 60).map(a => [
        h("span", { class: "num" }, clock(a.at)), pill(a.outcome), a.status ?? "–", span(a.duration_ms), h("button", { class: "little quiet mono", onclick: () => showEvent(a.event_id) }, a.event_id),
        [a.error ? h("span", { class: "err" }, a.error) : "", a.answer ? h("span", { class: "sub mono" }, a.answer.slice(0, 200)) : null],
      ])) : h("p", { class: "empty" }, "Nothing was tried yet."));
  }

  async function end(s) {
    const text = `The ${many(s.backlog, "event")} that wait for ${s.name} become dead letters at once, and it takes no new ones. The ${many(s.dead, "dead letter")} there are stay.`;
    if (!await confirm(`Delete the stream ${s.name} of ${s.type}?`, text, `Delete ${s.name}`)) return;
    await attempt(async () => { const { count: n } = await api(at, { method: "DELETE" }); say(`${s.name} is deleted; ${many(n, "event")} became dead letters.`); await refresh(); });
  }
  every(2500, signal, refresh);
}

function tune(key, at, after) {
  const mailbox = h("input", { inputmode: "numeric" }), concurrency = h("input", { inputmode: "numeric" });
  const rest = h("p", { class: "wrong", role: "alert" });
  const number = input => (/^\d+$/.test(input.value.trim()) ? Number(input.value) : input.value);
  const form = h("form", {
    class: "form",
    onsubmit: async event => {
      event.preventDefault();
      try {
        await api(at, { method: "PATCH", body: { mailbox: number(mailbox), concurrency: number(concurrency) } });
        showErrors(form, [], rest);
        say(`${key.name} is tuned; no event was lost.`);
        after();
      } catch (error) { error.errors?.length ? showErrors(form, error.errors, rest) : (rest.textContent = error.message); }
    },
  }, h("div", { class: "fields" }, field("Mailbox", "/mailbox", mailbox, " events in memory"), field("Concurrency", "/concurrency", concurrency, " attempts at a time")), rest,
  h("div", null, h("button", null, "Tune")));
  return { root: h("section", { class: "card", "aria-label": "Tune" }, h("h2", null, "Tune"), form), set(s) { mailbox.value = s.mailbox.limit; concurrency.value = s.concurrency; } };
}

function replay(key, at, after) {
  const local = ms => new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 19);
  const from = h("input", { type: "datetime-local", step: 1, value: local(Date.now() - 3600000) }), to = h("input", { type: "datetime-local", step: 1, value: local(Date.now() + 60000) });
  const rest = h("p", { class: "wrong", role: "alert" });
  const iso = input => { const d = new Date(input.value); return isNaN(d) ? "" : d.toISOString(); };
  const form = h("form", {
    class: "form",
    onsubmit: async event => {
      event.preventDefault();
      const range = { from: iso(from), to: iso(to) };
      try {
        const { count: n } = await api(`${at}/replay`, { method: "POST", body: { ...range, dry_run: true } });
        showErrors(form, [], rest);
        if (!n) { say("No stored event is in this range."); return; }
        if (!await confirm(`Deliver ${many(n, "event")} again?`, `${many(n, "stored event")} from ${stamp(range.from)} to ${stamp(range.to)} will be delivered to ${key.name} again, whether or not it has had them.`, `Deliver ${many(n, "event")}`, false)) return;
        const done = await api(`${at}/replay`, { method: "POST", body: range });
        say(`${many(done.count, "event")} queued again.`);
        after();
      } catch (error) { error.errors?.length ? showErrors(form, error.errors, rest) : (rest.textContent = error.message); }
    },
  }, h("div", { class: "fields" }, field("From", "/from", from), field("To", "/to", to)), rest, h("div", null, h("button", null, "Count and replay…")));
  return h("section", { class: "card", "aria-label": "Replay" }, h("h2", null, "Replay"), form);
}
