// The public WebSocket: opened, and opened again from the last event on whenever it is lost.
import { api, connection, enc, parse, session } from "./api.js";
import { read } from "./ring.js";

/** The code by which the hub ends a session whose token was withdrawn. */
const WITHDRAWN = 4001;
/** Silence after which the hub is asked whether it is still there, in ms. */
const SILENCE = 20000;

/**
 * A live session that comes back by itself. `on.open(resumed)`, `on.event(event)`, `on.control(message)`, and
 * `on.lost(words)` each time that it is away and for what reason.
 */
export class Line {
  constructor(on) {
    this.on = on;
    this.socket = null;
    this.wait = 500;
  }

  /** Opens one for these types, after the event `since` where there is one, in place of what there was. */
  start(types, since) {
    this.stop();
    this.types = types;
    this.since = since;
    const base = new URL("api/events/", document.baseURI);
    base.protocol = base.protocol.replace("http", "ws");
    if (types) base.searchParams.set("types", types);
    if (since) base.searchParams.set("since", since);
    const mine = (this.socket = new WebSocket(base));
    let opened = false;
    mine.onopen = () => {
      opened = true;
      this.wait = 500;
      connection(true);
      this.listen();
      this.on.open(Boolean(since));
    };
    mine.onmessage = ({ data }) => {
      this.heard = performance.now();
      if (data.startsWith('{"control"')) this.on.control(parse(data));
      else this.on.event(read(data));
    };
    mine.onclose = async event => {
      if (mine !== this.socket) return;
      if (event.code === WITHDRAWN) dispatchEvent(new CustomEvent("signin", { detail: "withdrawn" }));
      this.again(event.reason);
      if (!opened) this.on.lost(await this.why());
    };
  }

  /** Lets go of it and does not come back. */
  stop() {
    clearTimeout(this.retry);
    removeEventListener("signedin", this.back);
    clearInterval(this.watch);
    const old = this.socket;
    this.socket = null;
    if (old) { old.onopen = old.onclose = old.onmessage = null; old.close(); }
  }

  again(reason) {
    this.stop();
    this.on.lost(reason);
    this.back = () => this.start(this.types, this.since);
    // Until somebody has signed in again there is nothing to try.
    this.retry = setTimeout(() => (session.lost ? addEventListener("signedin", this.back, { once: true }) : this.back()), this.wait);
    this.wait = Math.min(this.wait * 2, 10000);
  }

  /** A connection can be gone without anybody saying so. */
  listen() {
    this.heard = performance.now();
    this.watch = setInterval(async () => {
      if (performance.now() - this.heard < SILENCE) return;
      this.heard = performance.now();
      const mine = this.socket;
      await api("").catch(error => { if (!error.status && this.socket === mine) this.again("no answer"); });
    }, SILENCE / 4);
  }

  /** Why the hub opens none: a browser does not tell, so it is asked for the same as Server-Sent Events. */
  async why() {
    const over = new AbortController();
    try {
      const answer = await fetch(`api/events/?types=${enc(this.types || "*")}`, { headers: { Accept: "text/event-stream" }, signal: over.signal });
      const words = answer.ok ? "" : (await answer.json()).detail;
      if (answer.status === 401) dispatchEvent(new CustomEvent("signin"));
      over.abort();
      return words;
    } catch {
      connection(false);
      return "no answer";
    }
  }
}
