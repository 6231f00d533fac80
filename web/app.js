// The frame: which page is shown, who looks, theme and shortcuts.
import { api, attempt, can, dialog, h, Problem, say, session, show } from "./base.js";
import overview from "./overview.js";

/** Pages: what they need, and the module that shows them, asked for when it is first needed. */
const PAGES = [
  { at: "overview", name: "Overview", scopes: ["ops"], key: "o", load: async () => ({ default: overview }) },
  { at: "live", name: "Live", scopes: ["live"], key: "l", load: () => import("./live.js") },
  { at: "types", name: "Types", scopes: ["register", "ops"], key: "t", load: () => import("./types.js") },
  { at: "streams", name: "Streams", scopes: ["ops"], key: "s", load: () => import("./streams.js") },
  { at: "feed", name: "Feed", scopes: ["feed"], key: "f", load: () => import("./feed.js") },
  { at: "nodes", name: "Nodes and store", scopes: ["ops"], key: "n", load: () => import("./nodes.js") },
];
const main = document.getElementById("main");
const nav = document.getElementById("nav");
const allowed = () => PAGES.filter(page => can(...page.scopes));
let current = new AbortController();
let shown = "";

async function route(focus) {
  const [, at = "", ...rest] = location.hash.split("/");
  const page = allowed().find(p => p.at === at) || (at && PAGES.some(p => p.at === at) ? null : allowed()[0]);
  current.abort();
  const here = (current = new AbortController());
  nav.replaceChildren(...allowed().map(p => h("a", { href: `#/${p.at}`, "aria-current": p === page ? "page" : null }, p.name)));
  nav.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  document.title = `${page?.name || "Not for this token"} · Event Source`;
  // A new root for each page: what a page before still does, it does to nothing.
  const root = h("div", { id: "page" });
  root.style.display = "contents";
  main.replaceChildren(root);
  if (!page) {
    show(root, h("p", { class: "card" }, session.scopes.length ? `The token ${session.name || ""} is not for this page.` : "Sign in to see this page."));
    return;
  }
  const module = await page.load();
  if (here.signal.aborted) return;
  module.default(root, rest.map(decodeURIComponent), here.signal);
  if (focus && shown !== location.hash) main.focus({ preventScroll: true });
  if (shown !== location.hash) scrollTo(0, 0);
  shown = location.hash;
}

// Theme: the system's, until somebody says otherwise.
const dark = matchMedia("(prefers-color-scheme: dark)");
const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
function theme(wanted = stored()) {
  const now = wanted || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  const button = document.getElementById("theme");
  button.textContent = now === "dark" ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to ${now === "dark" ? "light" : "dark"} colours`);
}
function switchTheme() {
  const now = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", now); } catch { /* It holds for as long as the page. */ }
  theme(now);
}
dark.addEventListener("change", () => theme());
document.getElementById("theme").onclick = switchTheme;
theme();

// Signing in: only where the hub asks for a token.
let asking = false;
async function signIn() {
  if (asking) return;
  asking = true;
  await dialog("This hub asks for a token", close => {
    const input = h("input", { type: "password", autocomplete: "current-password", required: true, "aria-describedby": "token-wrong", id: "token" });
    const wrong = h("span", { class: "wrong", id: "token-wrong", role: "alert" });
    return h("form", {
      class: "form",
      onsubmit: async event => {
        event.preventDefault();
        try {
          take(await api("/api/session", { method: "POST", body: { token: input.value } }));
          close();
        } catch (error) {
          wrong.textContent = error instanceof Problem && error.status === 401 ? "The hub does not know this token." : error.message;
          input.setAttribute("aria-invalid", "true");
          input.select();
        }
      },
    }, h("label", { for: "token" }, "Access token"), input, wrong,
    h("p", { class: "soft small" }, "It is exchanged for a cookie that scripts cannot read; the page shows what its scopes allow."),
    h("div", { class: "end" }, h("button", { class: "main" }, "Sign in")));
  });
  asking = false;
  route();
}
function take(answer) {
  Object.assign(session, { name: answer.name, scopes: answer.scopes, types: answer.types, client: answer.client, open: !answer.name });
  document.getElementById("out").hidden = !answer.name;
  document.getElementById("out").textContent = answer.name ? `Sign out ${answer.name}` : "Sign out";
}
addEventListener("signin", () => {
  session.scopes = [];
  signIn();
});
document.getElementById("out").onclick = () => attempt(async () => {
  await api("/api/session", { method: "DELETE" });
  document.getElementById("out").hidden = true;
  session.scopes = [];
  route();
  signIn();
});

// Shortcuts, where nobody types.
const KEYS = [
  ...PAGES.map(page => [`g ${page.key}`, `Go to ${page.name}`]),
  ["/", "To the first filter"], ["p", "Live: pause and go on"], ["↑ ↓ Enter", "Live: choose an event and open it"], ["d", "Light or dark"], ["?", "This list"], ["Esc", "Close a dialog"],
];
const help = () => dialog("Keyboard shortcuts", close => h("div", { class: "form" },
  h("table", null, h("tbody", null, KEYS.map(([keys, what]) => h("tr", null, h("td", null, keys.split(" ").map(k => [h("kbd", null, k), " "])), h("td", null, what))))),
  h("div", { class: "end" }, h("button", { class: "main", onclick: () => close() }, "Close"))));
document.getElementById("keys").onclick = help;
let going = 0;
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  if (Date.now() - going < 1500) {
    const page = allowed().find(p => p.key === event.key);
    going = 0;
    if (page) { event.preventDefault(); location.hash = `#/${page.at}`; return; }
  }
  if (event.key === "g") going = Date.now();
  else if (event.key === "?") help();
  else if (event.key === "d") switchTheme();
  else if (event.key === "p") document.getElementById("pause")?.click();
  else if (event.key === "/") {
    const first = main.querySelector("input");
    if (first) { event.preventDefault(); first.focus(); }
  }
});
// The skip link must not become a route.
document.querySelector(".skip").onclick = event => { event.preventDefault(); main.focus(); };
addEventListener("hashchange", () => route(true));

try {
  take(await api("/api/session"));
  route();
} catch (error) {
  if (error.status === 401) signIn();
  else {
    // A hub without tokens has no such door; one that does not answer is asked again by the page.
    if (!error.status) say(error.message, true);
    route();
  }
}
