// The hub's API, as every page asks it, and who asks.
import { say } from "./talk.js";
import { clock, span } from "./words.js";

/** The rights of whoever looks; everything where the hub asks for no tokens. While they are `lost`, nothing is asked by itself. */
export const session = { lost: false, name: null, scopes: ["send", "register", "feed", "live", "ops"], types: null, client: null, open: true };
export const can = (...scopes) => scopes.some(s => session.scopes.includes(s));
export const enc = encodeURIComponent;

/** An answer that is not a success, with the problem document's words. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `The hub answered ${status}`);
    this.status = status;
    this.errors = body?.errors || [];
  }
}

// Payloads are shown as they were sent: numbers that JavaScript would write otherwise stay as they are.
const exact = (_, value, context) =>
  typeof value === "number" && context && String(value) !== context.source && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
export const parse = text => JSON.parse(text, exact);
export const pretty = value => JSON.stringify(value, null, 2);

const link = document.getElementById("link");
let lostAt = null;
/** Whether the hub answers, as it stands at the top of every page. */
export function connection(up) {
  if (up && lostAt !== null) {
    say(`The hub answers again, after ${span(Date.now() - lostAt)}.`);
    lostAt = null;
  } else if (!up && lostAt === null) lostAt = Date.now();
  const text = up ? "Connected" : `No answer since ${clock(lostAt)}`;
  if (link.textContent !== text) link.textContent = text;
  link.classList.toggle("lost", !up);
}

let skew = 0;
/** The hub's clock, in Unix milliseconds. Its answers tell whole seconds, so less than two of difference is none. */
export const hubNow = () => Date.now() + skew;

/** Asks the hub. `body` goes as JSON, a string as it is; `payloads` says that the answer has some. Throws a Problem. */
export async function api(path, { method = "GET", body, signal, payloads } = {}) {
  const url = path.startsWith("/") ? path.slice(1) : `api/events/${path}`;
  const init = { method, signal, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined) {
    init.body = typeof body === "string" ? body : JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  let response, text;
  try {
    response = await fetch(url, init);
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    connection(false);
    throw new Problem(0, { detail: "The hub does not answer" });
  }
  connection(response.status !== 502 && response.status !== 504);
  const ahead = Date.parse(response.headers.get("Date")) - Date.now();
  skew = Math.abs(ahead) > 2000 ? ahead : 0;
  let answer = null;
  try { answer = !text ? null : payloads ? parse(text) : JSON.parse(text); } catch { /* Not ours: a proxy's page. */ }
  if (response.ok) return answer;
  if (response.status === 401 && path !== "/api/session") dispatchEvent(new CustomEvent("signin"));
  throw new Problem(response.status, answer);
}

/** The API's path of a link, whatever host the hub thinks it has. */
export function href(links, rel) {
  const found = links?.find(l => l.rel === rel)?.href;
  return found && found.slice(found.indexOf("/api/events"));
}

/** Calls `work` now and every so often until `signal` aborts; never twice at a time, not while nobody looks or may, and at once when somebody does again. */
export function every(ms, signal, work) {
  let timer, told = "", busy = false;
  const run = async () => {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    if (!document.hidden && !session.lost) try {
      await work();
      told = "";
    } catch (error) {
      // Said once; that the hub is away stands at the top. What is no answer of the hub is a fault of this page.
      if (error.status === 401) told = "";
      else if (error.status && error.message !== told) say((told = error.message), true);
      else if (error.name !== "AbortError" && error.status === undefined) console.error(error);
    }
    busy = false;
    if (!signal.aborted) timer = setTimeout(run, ms);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) run(); }, { signal });
  addEventListener("signedin", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return run();
}

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
/** The same question as a line for a shell; a token is named, never shown. */
export function curl(path, { method = "GET", body } = {}) {
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  if (!session.open) words.push('-H "Authorization: Bearer $EVENTS_TOKEN"');
  if (body) words.push("-H 'Content-Type: application/json'", "--data-raw", quoted(body));
  words.push(quoted(new URL(path.startsWith("/") ? path.slice(1) : `api/events/${path}`, document.baseURI).href));
  return words.join(" ");
}
