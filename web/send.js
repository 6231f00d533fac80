// A test event: a dialog that sends one and says what the hub answered.
import { api, can, curl } from "./api.js";
import { h, pill } from "./dom.js";
import { showEvent } from "./event.js";
import { field, rest, showErrors, showProblem } from "./form.js";
import { copy, dialog, parts } from "./talk.js";

/** Sends events of a type, as often as wanted. */
export function sendTest(type, payload = '{\n  "test": true\n}') {
  return dialog(`Send a test event of ${type}`, close => {
    const input = h("textarea", { spellcheck: "false", value: payload });
    const left = rest();
    const answer = h("div", { "aria-live": "polite" });
    // As it was written: numbers keep their digits.
    const body = () => `{"type":${JSON.stringify(type)},"payload":${input.value}}`;
    const form = h("form", {
      class: "form",
      onsubmit: async event => {
        event.preventDefault();
        answer.replaceChildren();
        try {
          JSON.parse(input.value);
        } catch (error) { showErrors(form, [{ pointer: "/payload", detail: `is not JSON: ${error.message}` }], left); return; }
        try {
          const sent = await api("send", { method: "POST", body: body() });
          showErrors(form, [], left);
          answer.append(h("div", { class: "note row" }, pill(sent.status), h("span", null, sent.id ? `as ${sent.id}` : sent.reason || ""),
            sent.id && can("feed") ? h("button", { type: "button", class: "little", onclick: () => { close(); showEvent(sent.id); } }, "What became of it") : null));
        } catch (error) { showProblem(form, error, left); }
      },
    }, h("p", { class: "soft small" }, "It is a real event: it is stored, delivered to every stream of the type, and shown in feeds."),
    field("Payload", "/payload", input, "any JSON"), left, answer,
    h("div", { class: "end" },
      h("button", { type: "button", class: "quiet", onclick: () => copy(curl("send", { method: "POST", body: body() }), "The command") }, "Copy as curl"),
      h("button", { type: "button", onclick: () => close() }, "Close"), h("button", { class: "main" }, "Send")));
    return parts(form);
  });
}
