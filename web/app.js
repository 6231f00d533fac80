// The frame: which page is shown, to whom, and shortcuts.
import { api, can, session } from "./api.js";
import { h, show } from "./dom.js";
import overview from "./overview.js";
import { forget, onSignOut, signIn, take } from "./signin.js";
import { dialog, parts, say } from "./talk.js";
import { switchTheme } from "./theme.js";

/** Pages: what they need, and the module that shows them, asked for when it is first needed. */
const PAGES = [
  { at: "overview", name: "Overview", scopes: ["ops"], key: "o", load: async () => ({ default: overview }) },
  { at: "live", name: "Live", scopes: ["live"], key: "l", load: () => import("./live.js") },
  { at: "types", name: "Types", scopes: ["register", "ops"], key: "t", load: () => import("./types.js") },
  { at: "streams", name: "Streams", scopes: ["ops"], key: "s", load: () => import("./streams.js") },
  { at: "feed", name: "Feed", scopes: ["feed"], key: "f", load: () => import("./feed.js") },
  { at: "nodes", name: "Nodes", scopes: ["ops"], key: "n", load: () => import("./nodes.js") },
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
  const root = h("div", { id: "page", class: page?.at });
  main.replaceChildren(root);
  if (!page) { refused(root, at); return; }
  let module;
  try { module = await page.load(); } catch {
    // The hub is away; a browser remembers that a module did not load, so only a new page can have it.
    if (here.signal.aborted) return;
    show(root, h("h1", null, page.name), h("p", { class: "note bad" }, "The hub does not answer. "),
      h("p", null, h("button", { onclick: () => location.reload() }, "Try again")));
    return;
  }
  if (here.signal.aborted) return;
  module.default(root, rest.map(decodeURIComponent), here.signal);
  if (focus && shown !== location.hash) main.focus({ preventScroll: true });
  if (shown !== location.hash) scrollTo(0, 0);
  shown = location.hash;
}

/** What is said where there is nothing to show. */
function refused(root, at) {
  const name = PAGES.find(p => p.at === at)?.name;
  if (session.scopes.length) show(root, h("h1", null, name || "Event Source"), h("p", { class: "card" }, name && allowed().length
    ? `The token ${session.name} is not for this page; its scopes are ${session.scopes.join(", ")}.`
    : [`The token ${session.name} may ${session.scopes.join(", ")} over the API, and there is no page for that: `, h("a", { href: "docs" }, "its documentation"), "."]));
  else show(root, h("h1", null, "Event Source"), h("div", { class: "card form" },
    ended ? h("p", { class: "note warn" }, ended) : null, h("p", null, "Sign in to see this page."), h("p", null, h("button", { class: "main", onclick: enter }, "Sign in…"))));
}

// What happened to the token before, until somebody signs in.
let asking = false, ended = "";
async function enter() {
  if (asking) return;
  asking = true;
  forget();
  route();
  if (await signIn()) {
    ended = "";
    route();
  }
  asking = false;
}
/**
 * Asks whoever was signed in to do so again, over the page as it stands: with a token for the same it goes on, forms and
 * all; with another it is shown anew, at the same place.
 */
async function again(withdrawn) {
  if (asking) return;
  asking = session.lost = true;
  const rights = () => JSON.stringify([session.scopes, session.types, session.client]);
  const before = rights();
  const why = `The hub no longer takes the token ${session.name}: it was withdrawn${withdrawn ? "" : ", or a session's 12 hours are over"}.`;
  const done = await signIn(`${why} Once you have signed in with one that it takes, the page goes on where it was.`);
  asking = session.lost = false;
  if (done && rights() === before) { dispatchEvent(new Event("signedin")); return; }
  for (const other of document.querySelectorAll("dialog[open]")) other.close();
  if (!done) {
    forget();
    ended = why;
  }
  route();
}
addEventListener("signin", ({ detail }) => (session.name ? again(detail === "withdrawn") : enter()));
onSignOut(enter);

// Shortcuts, where nobody types.
const KEYS = [
  ...PAGES.map(page => [`g ${page.key}`, `Go to ${page.name}`]),
  ["/", "To the first filter"], ["e", "Find an event by its id"], ["p", "Live: pause and go on"],
  ["↑ ↓ Enter", "Live: choose an event and open it"], ["← →", "Charts: read a moment after another"], ["d", "Light or dark"], ["?", "This list"], ["Esc", "Close a dialog"],
];
const help = () => dialog("Keyboard shortcuts", close => parts(
  h("table", { class: "keys" }, h("tbody", null, KEYS.map(([keys, what]) => h("tr", null, h("td", null, keys.split(" ").map(k => [h("kbd", null, k), " "])), h("td", null, what))))),
  h("div", { class: "end" }, h("button", { class: "main", onclick: () => close() }, "Close"))), { easy: true });
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
  else if (event.key === "e" && can("feed")) {
    event.preventDefault();
    import("./event.js").then(({ findEvent }) => findEvent(), () => say("The hub does not answer", true));
  } else if (event.key === "/") {
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
  if (error.status === 401) enter();
  else {
    // A hub without tokens has no such door; one that does not answer is asked again by the page.
    if (!error.status) say(error.message, true);
    route();
  }
}
