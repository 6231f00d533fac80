// Types: the list with rates, the form that registers, discarded types, a test event.
import { api, attempt, can, confirm, count, dialog, enc, every, fact, field, figure, h, head, many, pill, say, show, showErrors, showEvent, stamp, table } from "./base.js";

export const title = "Types";
export default function types(root, [what, name], signal) {
  if (what === "new" || what === "edit") return form(root, what === "edit" ? name : null, what === "new" ? name : null, signal);
  let last = null, rates = null;
  show(root, head("Types", "What may be sent, for how long it is kept, and where it goes."), h("p", { class: "soft" }, "Reading…"));
  const refresh = async () => {
    const [{ types: all }, counts, gone] = await Promise.all([
      api("register", { signal }),
      can("ops") ? api("counts", { signal }).catch(() => null) : null,
      can("ops") ? api("discarded", { signal }) : { discarded: [] },
    ]);
    if (counts) {
      const now = Date.parse(counts.at);
      if (last && now > last.now) rates = name => ((counts.accepted[name] || 0) - (last.accepted[name] || 0)) * 1000 / (now - last.now);
      if (!last || now - last.now >= 4000) last = { now, accepted: counts.accepted };
    }
    const rows = all.map(ty => {
      const row = [
        [h("b", null, ty.type)],
        ty.ttl,
        counts ? (rates ? figure(rates(ty.type)) : "…") : "–",
        counts ? count(counts.accepted[ty.type] || 0) : "–",
        ty.streams.length ? ty.streams.map(s => h("a", { class: "sub", href: `#/streams/${enc(ty.type)}/${enc(s.name)}` }, s.name)) : h("span", { class: "soft" }, "none"),
        [can("send") ? h("button", { class: "little", onclick: () => test(ty.type) }, "Send test", h("span", { class: "hide" }, ` event of ${ty.type}`)) : null,
          can("register") ? [h("a", { class: "button little", href: `#/types/edit/${enc(ty.type)}` }, "Edit", h("span", { class: "hide" }, ` ${ty.type}`)),
            h("button", { class: "little danger", onclick: () => remove(ty, refresh) }, "Delete", h("span", { class: "hide" }, ` ${ty.type}`))] : null],
      ];
      row.key = ty.type;
      return row;
    });
    show(root,
      head("Types", "What may be sent, for how long it is kept, and where it goes.", can("register") ? h("a", { class: "button main", href: "#/types/new" }, "Register a type") : null),
      h("section", { class: "card flush" }, rows.length ? table("Registered types", ["Type", "Kept", "#Events a second", "#Since start", "Streams", ""], rows)
        : h("p", { class: "empty" }, "No type is registered. Events of unregistered types are discarded and listed below.")),
      can("ops") ? h("section", { class: "card flush" }, h("h2", null, "Discarded"), h("p", { class: "soft small" }, "Sent, but never registered: a misspelling, or a type that somebody forgot."),
        gone.discarded.length ? table("Discarded types", ["Type", "#Events", "Last", ""], gone.discarded.map(d => {
          const row = [h("b", null, d.type), count(d.count), stamp(d.last_at),
            can("register") ? h("a", { class: "button little", href: `#/types/new/${enc(d.type)}` }, "Register this", h("span", { class: "hide" }, `: ${d.type}`)) : ""];
          row.key = d.type;
          return row;
        })) : h("p", { class: "empty" }, "Nothing was discarded.")) : null);
  };
  every(5000, signal, refresh);
}

async function remove(ty, refresh) {
  let waits = 0;
  if (can("ops")) for (const s of ty.streams) waits += (await attempt(() => api(`streams/${enc(ty.type)}/${enc(s.name)}`)))?.backlog || 0;
  const text = `Later events of ${ty.type} are discarded. Stored ones stay readable for their lifetime (${ty.ttl}).`
    + (ty.streams.length ? ` Its ${many(ty.streams.length, "stream")} still deliver what waits (${many(waits, "event")}) and are then gone.` : "");
  if (await confirm(`Delete the type ${ty.type}?`, text, `Delete ${ty.type}`)) {
    await attempt(async () => { await api(`register/${enc(ty.type)}`, { method: "DELETE" }); say(`${ty.type} is deleted.`); });
    refresh();
  }
}

/** Sends one event of a type. */
export function test(type) {
  return dialog(`Send a test event of ${type}`, close => {
    const input = h("textarea", { spellcheck: "false", value: '{\n  "test": true\n}' });
    const rest = h("p", { class: "wrong", role: "alert" });
    const answer = h("div", { "aria-live": "polite" });
    const form = h("form", {
      class: "form",
      onsubmit: async event => {
        event.preventDefault();
        answer.replaceChildren();
        try {
          JSON.parse(input.value);
        } catch (error) { showErrors(form, [{ pointer: "/payload", detail: `is not JSON: ${error.message}` }], rest); return; }
        try {
          // As it was written: numbers keep their digits.
          const sent = await api("send", { method: "POST", body: `{"type":${JSON.stringify(type)},"payload":${input.value}}` });
          showErrors(form, [], rest);
          answer.append(h("p", { class: "note" }, pill(sent.status), ` ${sent.id ? `as ${sent.id}` : sent.reason || ""} `,
            sent.id && can("feed") ? h("button", { type: "button", class: "little", onclick: () => { close(); showEvent(sent.id); } }, "What became of it") : null));
        } catch (error) { error.errors?.length ? showErrors(form, error.errors, rest) : (rest.textContent = error.message); }
      },
    }, h("p", { class: "soft small" }, "It is a real event: it is stored, delivered to every stream of the type, and shown in feeds."),
    field("Payload", "/payload", input, "any JSON"), rest, answer,
    h("div", { class: "end" }, h("button", { type: "button", onclick: () => close() }, "Close"), h("button", { class: "main" }, "Send")));
    return form;
  });
}

const text = (value, more) => h("input", { value: value ?? "", spellcheck: "false", autocomplete: "off", ...more });

async function form(root, edited, suggested, signal) {
  let known = null;
  if (edited) {
    known = await attempt(() => api(`register/${enc(edited)}`, { signal }));
    if (!known) { root.append(head("Types"), h("p", { class: "card" }, `${edited} is not registered.`)); return; }
  }
  const type = text(edited || suggested, { readonly: edited ? true : null, placeholder: "financial:end-budget", required: true });
  const ttl = text(known?.ttl, { list: "ttls", placeholder: "24days, 1h30m, permanent, ephemeral", required: true });
  const rest = h("p", { class: "wrong", role: "alert" });
  const done = h("div", { "aria-live": "polite" });
  const box = h("div", { class: "form" });
  const streams = [];
  const number = () => streams.forEach((stream, n) => stream.number(n));
  const add = from => {
    const stream = editor(from, () => { streams.splice(streams.indexOf(stream), 1); stream.root.remove(); number(); });
    streams.push(stream);
    box.append(stream.root);
    number();
    return stream;
  };
  known?.streams.forEach(add);
  const page = h("form", {
    class: "form card", novalidate: true,
    onsubmit: async event => {
      event.preventDefault();
      done.replaceChildren();
      const errors = [];
      const body = { type: type.value.trim(), ttl: ttl.value.trim(), streams: streams.map((s, n) => s.value(`/streams/${n}`, errors)) };
      if (errors.length) { showErrors(page, errors, rest); return; }
      try {
        const saved = await api("register", { method: "PUT", body });
        showErrors(page, [], rest);
        const secrets = saved.streams.filter(s => s.secret && !String(s.secret).includes("***"));
        say(`${saved.type} is registered.`);
        if (!secrets.length) { location.hash = "#/types"; return; }
        await dialog("Keep these secrets now", close => h("div", { class: "form" },
          h("p", null, "They sign the deliveries of new webhook streams (Standard Webhooks), and are shown this once."),
          h("dl", { class: "form" }, secrets.map(s => fact(s.name, h("code", null, [s.secret].flat().join(" "))))),
          h("div", { class: "end" }, h("button", { type: "button", class: "main", onclick: () => close() }, "I have them"))));
        location.hash = "#/types";
      } catch (error) {
        if (error.errors?.length) showErrors(page, error.errors, rest);
        else { showErrors(page, [], rest); rest.textContent = error.message; }
      }
    },
  },
  h("div", { class: "fields" }, field("Type", "/type", type, " segments of letters, digits, . _ - joined by colons"), field("Kept for", "/ttl", ttl, " a duration, permanent or ephemeral")),
  h("datalist", { id: "ttls" }, ["permanent", "ephemeral", "1h", "1day", "7days", "24days", "1year"].map(v => h("option", { value: v }))),
  h("h2", null, "Streams"), h("p", { class: "soft small" }, "Where each event of the type is delivered. None is fine: feeds and live sessions have it anyway."),
  box, h("div", null, h("button", { type: "button", onclick: () => add().focus() }, "Add a stream")), rest, done,
  h("div", { class: "row" }, h("button", { class: "main" }, edited ? "Replace the registration" : "Register"), h("a", { class: "button", href: "#/types" }, "Cancel")));
  root.append(head(edited ? `Edit ${edited}` : "Register a type", edited ? "The whole registration is replaced. A stream taken away still delivers what waits for it." : null), page);
  (edited ? ttl : suggested ? ttl : type).focus();
}

/** The fields of one stream. What the form does not know of it stays as it was. */
function editor(from = { source: "webhook" }, onremove) {
  const source = h("select", null, ["webhook", "rabbit"].map(v => h("option", { value: v, selected: from.source === v }, v)));
  const area = value => h("textarea", { spellcheck: "false", value: value ? JSON.stringify(value, null, 1) : "" });
  const inputs = {
    uri: [text(from.uri, { placeholder: "https://example.com/hook", type: "url" }), "URI", "webhook"],
    exchange: [text(from.exchange), "Exchange", "rabbit"],
    routingKey: [text(from.routingKey), "Routing key", "rabbit"],
    name: [text(from.name, { placeholder: "from source and target" }), "Name"],
    mailbox: [text(from.mailbox, { inputmode: "numeric", placeholder: "1024" }), "Mailbox", null, "events in memory"],
    concurrency: [text(from.concurrency, { inputmode: "numeric", placeholder: "16" }), "Concurrency", null, "1 keeps the order"],
    "retry/attempts": [text(from.retry?.attempts, { inputmode: "numeric", placeholder: "40" }), "Attempts"],
    "retry/first": [text(from.retry?.first, { placeholder: "1s" }), "First retry after"],
    "retry/max": [text(from.retry?.max, { placeholder: "1h" }), "At most"],
    secret: [text(typeof from.secret === "string" ? from.secret : "", { placeholder: "made if left empty" }), "Secret", "webhook"],
    broker: [text(from.broker, { placeholder: "default" }), "Broker", "rabbit"],
    exchangeType: [text(from.exchangeType, { placeholder: "topic" }), "Exchange type", "rabbit"],
    headers: [area(from.headers), "Headers", "webhook", "a JSON object"],
  };
  const made = {};
  for (const [key, [input, label, , hint]] of Object.entries(inputs)) made[key] = field(label, `/${key}`, input, hint ? ` ${hint}` : null);
  const sourceField = field("Source", "/source", source);
  const rules = ["name", "mailbox", "concurrency", "retry/attempts", "retry/first", "retry/max", "secret", "broker", "exchangeType", "headers"];
  made.headers.classList.add("wide");
  const legend = h("legend");
  const root = h("fieldset", null, legend, h("div", { class: "fields" }, sourceField, made.uri, made.exchange, made.routingKey),
    h("details", { open: false }, h("summary", null, "Name, mailbox, retries and more"), h("div", { class: "fields" }, rules.map(key => made[key]))),
    h("div", null, h("button", { type: "button", class: "little danger", onclick: onremove }, "Take this stream away")));
  const fit = () => { for (const [key, [, , only]] of Object.entries(inputs)) made[key].hidden = Boolean(only) && only !== source.value; };
  source.onchange = fit;
  fit();
  return {
    root,
    focus: () => source.focus(),
    number(n) {
      legend.textContent = `Stream ${n + 1}`;
      source.setAttribute("data-at", `/streams/${n}/source`);
      for (const [key, [input]] of Object.entries(inputs)) input.setAttribute("data-at", `/streams/${n}/${key}`);
    },
    value(at, errors) {
      const same = from.source === source.value;
      const out = same ? structuredClone({ ...from, headers: undefined }) : {};
      if (same && from.headers) out.headers = from.headers;
      else delete out.headers;
      out.source = source.value;
      for (const [key, [input, , only]] of Object.entries(inputs)) {
        const [member, inner] = key.split("/");
        const value = input.value.trim();
        const place = inner ? (out[member] ||= {}) : out;
        const leaf = inner || member;
        if ((only && only !== source.value) || (value === "" && !(member === "secret" && Array.isArray(from.secret)))) { delete place[leaf]; continue; }
        if (value === "") continue;
        if (["mailbox", "concurrency", "attempts"].includes(leaf)) place[leaf] = /^\d+$/.test(value) ? Number(value) : value;
        else if (leaf === "headers") try { place[leaf] = JSON.parse(value); } catch (error) { errors.push({ pointer: `${at}/headers`, detail: `is not JSON: ${error.message}` }); }
        else place[leaf] = value;
      }
      if (out.retry && !Object.keys(out.retry).length) delete out.retry;
      return out;
    },
  };
}
