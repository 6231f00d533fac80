// The fields of one stream in a registration.
import { h } from "./dom.js";
import { field, numeric } from "./form.js";

const text = (value, more) => h("input", { value: value ?? "", spellcheck: "false", autocomplete: "off", ...more });

/** An editor of a stream. What the form does not know of it stays as it was. */
export function editor(from = { source: "webhook" }, onremove) {
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
  for (const [key, [input, label, , hint]] of Object.entries(inputs)) made[key] = field(label, `/${key}`, input, hint);
  const sourceField = field("Source", "/source", source);
  const rules = ["name", "mailbox", "concurrency", "retry/attempts", "retry/first", "retry/max", "secret", "broker", "exchangeType", "headers"];
  made.headers.classList.add("wide");
  sourceField.classList.add("narrow");
  const legend = h("legend");
  const which = h("span", { class: "hide" });
  const root = h("fieldset", null, legend, h("div", { class: "fields target" }, sourceField, made.uri, made.exchange, made.routingKey),
    h("details", { open: false }, h("summary", null, "Name, mailbox, retries and more"), h("div", { class: "fields" }, rules.map(key => made[key]))),
    h("div", null, h("button", { type: "button", class: "little danger", onclick: onremove }, "Take this stream away", which)));
  const fit = () => { for (const [key, [, , only]] of Object.entries(inputs)) made[key].hidden = Boolean(only) && only !== source.value; };
  source.onchange = fit;
  fit();
  return {
    root,
    focus: () => source.focus(),
    number(n) {
      legend.textContent = from.name || `Stream ${n + 1}`;
      which.textContent = `: ${legend.textContent}`;
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
        if (["mailbox", "concurrency", "attempts"].includes(leaf)) place[leaf] = numeric(value);
        else if (leaf === "headers") try { place[leaf] = JSON.parse(value); } catch (error) { errors.push({ pointer: `${at}/headers`, detail: `is not JSON: ${error.message}` }); }
        else place[leaf] = value;
      }
      if (out.retry && !Object.keys(out.retry).length) delete out.retry;
      return out;
    },
  };
}
