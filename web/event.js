// One event: its payload, what became of it at each stream, every attempt, who has marked it.
import { api, can, curl, enc, every, parse, pretty } from "./api.js";
import { fact, h, pill, show, table } from "./dom.js";
import { sendTest } from "./send.js";
import { attempt, copy, dialog, parts, say } from "./talk.js";
import { count, span, stamp } from "./words.js";

const layout = text => { try { return pretty(parse(text)); } catch { return text; } };
const payloadOf = text => h("pre", { tabindex: 0, role: "group", "aria-label": "Payload" }, text);
const factsOf = (type, at, id) => h("dl", { class: "facts" }, fact("Type", type), fact("Created", stamp(at)), fact("Id", h("span", { class: "mono" }, id)));

/** Opens it. `known` is what a live session has of it already: `{id, type, payload, at}`. */
export function showEvent(id, known) {
  const over = new AbortController();
  return dialog("Event", close => {
    const body = h("div", { class: "form" }, known ? [factsOf(known.type, known.at, id), payloadOf(layout(known.payload))] : h("p", { class: "soft" }, "Reading…"));
    const tried = attemptsOf(id, over.signal);
    const refresh = async () => {
      try {
        const event = await api(id, { payloads: true, signal: over.signal });
        const attempts = can("ops") ? await tried(event) : [];
        show(body, factsOf(event.type, event.created_at, event.id), payloadOf(pretty(event.payload)), tools(event, close),
          h("h3", null, "Streams"), streamsOf(event, close, refresh), ...timeline(event, attempts),
          h("h3", null, "Marked processed by"),
          h("p", { class: event.processed_by.length ? null : "soft" }, event.processed_by.join(", ") || "Nobody yet."));
      } catch (error) {
        if (error.name === "AbortError") return;
        const words = error.status === 404 ? "The hub does not keep this event: it is ephemeral, or its time is over, or there never was one."
          : error.status === 403 ? "What became of it is not for this token." : error.message;
        show(body, known ? [factsOf(known.type, known.at, id), payloadOf(layout(known.payload))] : null, h("p", { class: "note warn" }, words));
        if (error.status === 404 || error.status === 403) over.abort();
      }
    };
    // As long as it is open, for what is pending now is delivered soon.
    every(2000, over.signal, refresh);
    return parts(body, h("div", { class: "end" }, h("button", { type: "button", class: "main", onclick: () => close() }, "Close")));
  }, { wide: true, easy: true }).finally(() => over.abort());
}

/** Asks which event, by its id. */
export async function findEvent() {
  const id = await dialog("Find an event", close => {
    const input = h("input", { inputmode: "numeric", autocomplete: "off", id: "find-id", required: true, pattern: "\\s*[0-9]+\\s*", title: "The decimal digits of an id" });
    return h("form", { class: "form", onsubmit: event => { event.preventDefault(); close(input.value.trim()); } },
      h("div", { class: "field" }, h("label", { for: "find-id" }, h("span", null, "Event id"), h("small", null, "as a send answered it")), input),
      h("div", { class: "end" }, h("button", { type: "button", onclick: () => close() }, "Cancel"), h("button", { class: "main" }, "Find")));
  }, { easy: true });
  if (id) await showEvent(id);
}

const tools = (event, close) => h("div", { class: "row" },
  h("button", { type: "button", class: "little", onclick: () => copy(pretty(event.payload), "The payload") }, "Copy payload"),
  h("button", { type: "button", class: "little", onclick: () => copy(curl(event.id), "The command") }, "Copy as curl"),
  can("send") ? h("button", { type: "button", class: "little", onclick: () => { close(); sendTest(event.type, pretty(event.payload)); } }, "Send one like it…") : null);

function streamsOf(event, close, refresh) {
  if (!event.streams.length) return h("p", { class: "soft" }, "Its type has no streams.");
  const again = s => attempt(async () => {
    const { count: n } = await api(`streams/${enc(event.type)}/${enc(s.name)}/dead/retry`, { method: "POST", body: { ids: [event.id] } });
    say(n ? `It is due again for ${s.name}.` : `It is no dead letter of ${s.name} any more.`);
    await refresh();
  });
  return table("Delivery", ["Stream", "State", "#Attempts", "Last error", ""], event.streams.map(s => [
    can("ops") ? h("a", { href: `#/streams/${enc(event.type)}/${enc(s.name)}`, onclick: () => close() }, s.name) : s.name,
    pill(s.state), s.attempts ? count(s.attempts) : "–",
    s.last_error || s.next_attempt_at ? [h("span", { class: "err" }, s.last_error || ""), s.next_attempt_at ? h("span", { class: "sub" }, `next attempt ${stamp(s.next_attempt_at)}`) : null] : "–",
    s.state === "dead" && can("ops") ? h("button", { type: "button", class: "little", onclick: () => again(s) }, "Send again", h("span", { class: "hide" }, ` to ${s.name}`)) : ""]));
}

/** Reads the attempts at an event, of each stream again only when something has become of it there. */
function attemptsOf(id, signal) {
  const known = new Map();
  return async event => {
    await Promise.all(event.streams.filter(s => s.state !== "none").slice(0, 8).map(async s => {
      const now = `${s.state} ${s.attempts} ${s.last_error}`;
      if (known.get(s.name)?.now === now) return;
      // A stream that is gone has none any more.
      const { attempts } = await api(`streams/${enc(event.type)}/${enc(s.name)}/attempts`, { signal }).catch(error => { if (error.name === "AbortError") throw error; return { attempts: [] }; });
      known.set(s.name, { now, attempts: attempts.filter(a => a.event_id === id).map(a => ({ ...a, stream: s.name })) });
    }));
    return [...known.values()].flatMap(s => s.attempts).sort((a, b) => a.at.localeCompare(b.at));
  };
}
function timeline(event, attempts) {
  if (!attempts.length) return [];
  const entry = (at, kind, ...words) => h("li", { class: kind }, h("time", { datetime: at }, stamp(at)), h("span", null, words));
  const hidden = Math.max(0, attempts.length - 30);
  return [h("h3", null, "What happened"), h("ol", { class: "timeline" },
    entry(event.created_at, "", "stored"),
    hidden ? h("li", null, h("time"), h("span", { class: "soft" }, `${count(hidden)} attempts before these`)) : null,
    attempts.slice(hidden).map(a => entry(a.at, a.outcome,
      h("b", null, a.stream), ` ${a.outcome} after ${span(a.duration_ms)}`, a.status && !a.error ? `, ${a.status}` : "", a.error ? h("span", { class: "err" }, a.error) : null)),
    event.streams.filter(s => s.next_attempt_at).map(s => entry(s.next_attempt_at, "next", h("b", null, s.name), " is tried next")))];
}
