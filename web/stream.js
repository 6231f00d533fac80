// One stream: how delivery does, and everything that can be done about it.
import { api, enc, every, hubNow } from "./api.js";
import { tile } from "./chart.js";
import { fact, h, head, keyed, pill, show, table } from "./dom.js";
import { letters } from "./dead.js";
import { showEvent } from "./event.js";
import { field, numeric, rest, showErrors, showProblem } from "./form.js";
import { mailbox, switchOf, throughput } from "./streams.js";
import { attempt, confirm, say } from "./talk.js";
import { count, figure, many, span, stamp, when } from "./words.js";

/** Attempts that are shown of the newest 1000. */
const SHOWN = 60;
/** Where the page has looked within so many ms, it knows more than the hub's sample of 15 s says. */
const NEAR = 10000;

export default async function stream(root, key, signal) {
  const at = `streams/${enc(key.type)}/${enc(key.name)}`;
  const rate = throughput();
  // What the page has seen itself; of when it did not look, there is what the hub has.
  const seen = [];
  const now = () => attempt(refresh);
  // Forms are made once, and stand beside what is refreshed.
  const top = h("div", { class: "form" }, h("p", { class: "soft" }, "Reading…"));
  const tuning = tune(key, at, now), again = replay(key, at, now), dead = letters(key, at, signal, now), tried = attempts(at, signal);
  const forms = h("div", { class: "two" }, tuning.root, again);
  root.append(top, forms, dead.root, tried.root);

  let first = true;
  async function refresh() {
    let s;
    try { s = await api(at, { signal }); } catch (error) {
      if (error.status !== 404) throw error;
      show(top, head(key.name, `A stream of ${key.type} that is gone, or never was.`, h("a", { class: "button little", href: "#/streams" }, "All streams")));
      forms.hidden = tried.root.hidden = true;
      await dead.refresh(null);
      return;
    }
    if (first) tuning.set(s);
    first = false;
    const newest = { at: hubNow(), backlog: s.backlog, delivered: null, failed: null, ...rate(s) };
    const samples = seen.concat((s.history || []).map(x => ({ ...x, at: Date.parse(x.at) })).filter(x => !seen.some(y => Math.abs(x.at - y.at) < NEAR)));
    samples.sort((a, b) => a.at - b.at);
    samples.push(newest);
    // The first look has no rate yet: the hub's last one goes on.
    const delivered = samples.findLast(x => x.delivered !== null)?.delivered ?? null;
    if (newest.delivered !== null) seen.push(newest);
    if (seen.length > 360) seen.shift();
    show(top,
      head(s.name, h("span", null, pill(s.state), ` ${s.source} of `, h("b", null, s.type)), h("a", { class: "button little", href: "#/streams" }, "All streams"), switchOf(s, now),
        h("button", { class: "little danger", onclick: () => end(s) }, "Delete stream")),
      s.last_error ? h("p", { class: s.state === "failing" ? "note bad" : "note warn" }, `Last failure: ${s.last_error}`) : null,
      h("div", { class: "grid tiles three" },
        tile("Backlog", count(s.backlog), s.backlog ? `${s.backlog === 1 ? "event waits" : "events wait"}, the oldest for ${span(s.oldest_age_ms)}` : "nothing waits", samples, [{ name: "waiting", of: x => x.backlog }], count),
        tile("Throughput", figure(delivered), delivered === null ? "measuring" : "delivered a second", samples, [{ name: "delivered", of: x => x.delivered }, { name: "failed", of: x => x.failed, kind: "bad" }], figure),
        h("section", { class: "card tile", "aria-label": "Figures" }, h("h2", null, "Since it was registered"), h("dl", { class: "facts" },
          fact("Delivered", count(s.delivered)), fact("Failed attempts", count(s.failed)), fact("Dead letters", count(s.dead)),
          fact("In flight", `${count(s.in_flight)} of ${count(s.concurrency)}`), fact("Mailbox", mailbox(s)), fact("Oldest waits", s.backlog ? span(s.oldest_age_ms) : "–")))));
    await Promise.all([dead.refresh(s), tried.refresh()]);
  }

  async function end(s) {
    const text = [s.backlog === 1 ? "It takes no new events. The 1 event that waits for it becomes a dead letter at once."
      : `It takes no new events. The ${many(s.backlog, "event")} that wait for it become dead letters at once.`];
    if (s.dead) text.push(`The ${many(s.dead, "dead letter")} there ${s.dead === 1 ? "is" : "are"} ${s.dead === 1 ? "stays" : "stay"}.`);
    if (!await confirm(`Delete the stream ${s.name} of ${s.type}?`, text, `Delete ${s.name}`)) return;
    await attempt(async () => {
      const { count: n } = await api(at, { method: "DELETE" });
      say(`${s.name} is deleted; ${many(n, "event")} became ${n === 1 ? "a dead letter" : "dead letters"}.`);
      await refresh();
    });
  }
  every(2500, signal, refresh);
}

/** What was tried of late. */
function attempts(at, signal) {
  let all = [], failures = false;
  const only = h("input", { type: "checkbox", id: "failures", onchange: () => { failures = only.checked; draw(); } });
  const body = h("div");
  const root = h("section", { class: "card flush", "aria-label": "Attempts" },
    h("div", { class: "head" },
      h("div", null, h("h2", null, "Attempts"), h("p", { class: "soft small" }, "Every failure, and one success a second; the newest first.")),
      h("label", { class: "check", for: "failures" }, only, " Failures only")), body);
  function draw() {
    const shown = all.filter(a => !failures || a.error).slice(0, SHOWN);
    show(body, shown.length ? table("Attempts", ["At", "Outcome", "#Status", "#Took", "Event", "Error"], shown.map(a => keyed(`${a.event_id} ${a.at}`, [
      h("span", { class: "num" }, when(a.at)), pill(a.outcome), a.status ?? "–", span(a.duration_ms), h("button", { class: "id", onclick: () => showEvent(a.event_id) }, a.event_id),
      [a.error ? h("span", { class: "err" }, a.error) : "–", a.answer && !a.error?.includes(a.answer) ? h("span", { class: "sub mono" }, a.answer.slice(0, 200)) : null],
    ]))) : h("p", { class: "empty" }, all.length ? "Nothing failed of late." : "Nothing was tried yet."));
  }
  return { root, async refresh() { ({ attempts: all } = await api(`${at}/attempts`, { signal })); draw(); } };
}

function tune(key, at, after) {
  const box = h("input", { inputmode: "numeric" }), concurrency = h("input", { inputmode: "numeric" });
  const left = rest();
  const form = h("form", {
    class: "form",
    onsubmit: async event => {
      event.preventDefault();
      try {
        await api(at, { method: "PATCH", body: { mailbox: numeric(box.value.trim()), concurrency: numeric(concurrency.value.trim()) } });
        showErrors(form, [], left);
        say(`${key.name} is tuned; no event was lost.`);
        after();
      } catch (error) { showProblem(form, error, left); }
    },
  }, h("div", { class: "fields" }, field("Mailbox", "/mailbox", box, "events in memory"), field("Concurrency", "/concurrency", concurrency, "attempts at a time")), left,
  h("div", null, h("button", null, "Tune")));
  return { root: h("section", { class: "card", "aria-label": "Tune" }, h("h2", null, "Tune"), form), set(s) { box.value = s.mailbox.limit; concurrency.value = s.concurrency; } };
}

function replay(key, at, after) {
  const local = ms => new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 19);
  const from = h("input", { type: "datetime-local", step: 1, value: local(Date.now() - 3600000) }), to = h("input", { type: "datetime-local", step: 1, value: local(Date.now() + 60000) });
  const left = rest();
  const iso = input => { const d = new Date(input.value); return isNaN(d) ? "" : d.toISOString(); };
  const form = h("form", {
    class: "form",
    onsubmit: async event => {
      event.preventDefault();
      const range = { from: iso(from), to: iso(to) };
      try {
        const { count: n } = await api(`${at}/replay`, { method: "POST", body: { ...range, dry_run: true } });
        showErrors(form, [], left);
        if (!n) { say("Nothing to deliver again: no stored event is in this range, or all of them wait already."); return; }
        const text = `${many(n, "stored event")} from ${stamp(range.from)} to ${stamp(range.to)} will be delivered to ${key.name} again, whether or not it has had ${n === 1 ? "it" : "them"}.`;
        if (!await confirm(`Deliver ${many(n, "event")} again?`, text, `Deliver ${many(n, "event")}`, false)) return;
        const done = await api(`${at}/replay`, { method: "POST", body: range });
        say(`${many(done.count, "event")} queued again.`);
        after();
      } catch (error) { showProblem(form, error, left); }
    },
  }, h("div", { class: "fields" }, field("From", "/from", from, "your time"), field("To", "/to", to, "your time")), left, h("div", null, h("button", null, "Count and replay…")));
  return h("section", { class: "card", "aria-label": "Replay" }, h("h2", null, "Replay"), form);
}
