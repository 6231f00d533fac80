// The form that registers a type: its fields, the contract's errors at them, and a question before what loses something.
import { api, can, enc, session } from "./api.js";
import { fact, h, head } from "./dom.js";
import { field, rest, showErrors, showProblem } from "./form.js";
import { editor } from "./stream_form.js";
import { attempt, confirm, dialog, parts, say } from "./talk.js";
import { kept, lifetime, many } from "./words.js";

/** Opens it for the type `edited`, or for a new one that may be `suggested`. */
export default async function register(root, edited, suggested, signal) {
  const known = edited ? await attempt(() => api(`register/${enc(edited)}`, { signal })) : null;
  if (signal.aborted) return;
  if (edited && !known) {
    root.append(head("Types"), h("p", { class: "card" }, `${edited} is not registered. `, h("a", { href: "#/types" }, "All types")));
    return;
  }
  const text = (value, more) => h("input", { value: value ?? "", spellcheck: "false", autocomplete: "off", ...more });
  const type = text(edited || suggested, { readonly: edited ? true : null, placeholder: "financial:end-budget", required: true });
  const ttl = text(known?.ttl, { list: "ttls", placeholder: "24days", required: true });
  const left = rest();
  const box = h("div", { class: "form" });
  const streams = [];
  const number = () => streams.forEach((stream, n) => stream.number(n));
  const more = h("button", { type: "button", onclick: () => add().focus() }, "Add a stream");
  const add = from => {
    const stream = editor(from, () => { streams.splice(streams.indexOf(stream), 1); stream.root.remove(); number(); more.focus(); });
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
      const errors = [];
      const body = { type: type.value.trim(), ttl: ttl.value.trim(), streams: streams.map((s, n) => s.value(`/streams/${n}`, errors)) };
      showErrors(page, errors, left);
      if (errors.length) return;
      try {
        if (!await mayReplace(body, known)) return;
        const saved = await api("register", { method: "PUT", body });
        say(`${saved.type} is registered.`);
        await keep(saved.streams.filter(s => s.secret && !String(s.secret).includes("***")));
        location.hash = "#/types";
      } catch (error) { showProblem(page, error, left); }
    },
  },
  h("div", { class: "fields" }, field("Type", "/type", type, "letters, digits, . _ - joined by colons"), field("Kept for", "/ttl", ttl, "a duration, permanent or ephemeral")),
  h("datalist", { id: "ttls" }, ["permanent", "ephemeral", "1h", "1day", "7days", "24days", "52weeks"].map(v => h("option", { value: v }))),
  h("div", null, h("h2", null, "Streams"), h("p", { class: "soft small" }, "Where each event of the type is delivered. None is fine: feeds and live sessions have it anyway.")),
  box, h("div", null, more), left,
  h("div", { class: "row" }, h("button", { class: "main" }, edited ? "Replace the registration" : "Register"), h("a", { class: "button", href: "#/types" }, "Cancel")));
  root.append(head(edited ? `Edit ${edited}` : "Register a type", edited ? "The whole registration is replaced." : null), page);
  (edited ? ttl : suggested ? ttl : type).focus();
}

/** Asks where a registration takes something away: one that was there, streams, lifetime. */
async function mayReplace(body, edited) {
  // What is no name of a type is for the hub to say.
  const named = /^[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)*$/.test(body.type);
  const before = edited || (named ? await api(`register/${enc(body.type)}`).catch(error => { if (error.status !== 404) throw error; return null; }) : null);
  if (!before) return true;
  const losses = [];
  if (!edited) losses.push(`${body.type} is registered already, kept for ${kept(before.ttl)}, with ${many(before.streams.length, "stream")}. This registration takes its place.`);
  const names = new Set(body.streams.map(s => s.name));
  for (const s of before.streams.filter(s => !names.has(s.name))) {
    const n = can("ops") ? (await api(`streams/${enc(body.type)}/${enc(s.name)}`)).backlog : null;
    const waits = n === null ? "what waits for it" : `the ${many(n, "event")} that ${n === 1 ? "waits" : "wait"} for it`;
    losses.push(`Stream ${s.name} is no longer in it: it takes no new events, delivers ${waits}, and is then gone.`);
  }
  if (lifetime(body.ttl) < lifetime(before.ttl)) {
    // How many are stored is what waits for somebody who never marked any.
    const stored = can("feed") && !session.client ? (await api(`clients/~nobody~?types=${enc(body.type)}`).catch(() => null))?.pending : undefined;
    const those = stored === undefined ? "stored events" : `the ${many(stored, "stored event")}`;
    losses.push(`It is kept for ${kept(body.ttl)} instead of ${kept(before.ttl)}: ${lifetime(body.ttl) ? `of ${those}, those that are older are hidden at once` : `${those} are hidden at once`}.`);
  }
  return !losses.length || confirm(`Replace the registration of ${body.type}?`, losses, `Replace ${body.type}`);
}

/** Shows the secrets of new webhooks, once. */
async function keep(streams) {
  if (!streams.length) return;
  await dialog("Keep these secrets now", close => parts(
    h("p", null, "They sign the deliveries of new webhook streams (Standard Webhooks), and are shown this once."),
    h("dl", { class: "form" }, streams.map(s => fact(s.name, h("code", null, [s.secret].flat().join(" "))))),
    h("div", { class: "end" }, h("button", { type: "button", class: "main", onclick: () => close() }, "I have them"))));
}
