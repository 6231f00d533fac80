// Signing in, again and out: only where the hub asks for a token.
import { api, Problem, session } from "./api.js";
import { h } from "./dom.js";
import { attempt, dialog } from "./talk.js";

const out = document.getElementById("out");

/** Who looks, by the hub's word. */
export function take(answer) {
  Object.assign(session, { name: answer.name, scopes: answer.scopes, types: answer.types, client: answer.client, open: !answer.name });
  out.hidden = !answer.name;
  out.replaceChildren("Sign out", h("span", { class: "who" }, ` ${answer.name || ""}`));
}

/** Who looks has no rights any more. */
export function forget() {
  Object.assign(session, { name: null, scopes: [], types: null, client: null });
  out.hidden = true;
}

/** Asks for a token; whether there is one now. `why` says what happened to the one before. */
export async function signIn(why) {
  session.open = false;
  const done = await dialog(why ? "Sign in again" : "This hub asks for a token", close => {
    const input = h("input", { type: "password", autocomplete: "current-password", required: true, "aria-describedby": "token-wrong", id: "token" });
    const wrong = h("span", { class: "wrong", id: "token-wrong", role: "alert" });
    return h("form", {
      class: "form",
      onsubmit: async event => {
        event.preventDefault();
        try {
          take(await api("/api/session", { method: "POST", body: { token: input.value } }));
          close(true);
        } catch (error) {
          wrong.textContent = error instanceof Problem && error.status === 401 ? "The hub does not know this token." : error.message;
          input.setAttribute("aria-invalid", "true");
          input.select();
        }
      },
    }, why ? h("p", { class: "note warn" }, why) : null, h("div", { class: "field" }, h("label", { for: "token" }, "Access token"), input, wrong),
    h("p", { class: "soft small" }, "It is exchanged for a cookie that scripts cannot read; the page shows what its scopes allow."),
    h("div", { class: "end" }, h("button", { class: "main" }, "Sign in")));
  }, { veil: Boolean(why) });
  return Boolean(done);
}

/** Signs out, and calls `after`. */
export function onSignOut(after) {
  out.onclick = () => attempt(async () => {
    await api("/api/session", { method: "DELETE" });
    forget();
    after();
  });
}
