// A list of events of which only what is on the screen has elements, however many there are.
import { h } from "./dom.js";
import { millis } from "./words.js";

const ROW = 32;

/** A list box, the newest first. `open(event)` is called for the one that is clicked, or chosen and entered. */
export class Rows {
  constructor(open) {
    this.open = open;
    this.events = [];
    this.rows = [];
    this.chosen = null;
    /** Whether the newest are on the screen. */
    this.follow = true;
    this.space = h("div", { class: "space", role: "presentation" });
    this.root = h("div", { class: "list", tabindex: 0, role: "listbox", "aria-label": "Events, newest first" }, this.space);
    this.root.onscroll = () => { this.follow = this.root.scrollTop < ROW; this.onscroll?.(); };
    this.root.onkeydown = event => this.key(event);
    this.sized = new ResizeObserver(() => this.onscroll?.());
    this.sized.observe(this.root);
  }

  /** Shows these, oldest first; `more` of them are new, and what is looked at stays where it is. */
  draw(events, more = 0) {
    this.events = events;
    const { root, rows, space } = this;
    const height = `${events.length * ROW}px`;
    if (space.style.height !== height) space.style.height = height;
    if (more && !this.follow) root.scrollTop += more * ROW;
    const top = Math.max(0, Math.floor(root.scrollTop / ROW) - 3);
    const fit = Math.max(0, Math.min(events.length - top, Math.ceil(root.clientHeight / ROW) + 7));
    while (rows.length < fit) this.add();
    root.removeAttribute("aria-activedescendant");
    rows.forEach((row, n) => this.fill(row, n < fit ? events[events.length - 1 - top - n] : null, top + n));
  }

  add() {
    const row = h("div", { class: "ev", role: "option", id: `ev${this.rows.length}` }, h("time"), h("b"), h("code"));
    row.onclick = () => { this.chosen = row.event.id; this.open(row.event); this.onscroll?.(); };
    this.rows.push(row);
    this.root.append(row);
  }

  fill(row, event, at) {
    row.hidden = !event;
    if (!event) { row.event = null; return; }
    row.style.transform = `translateY(${at * ROW}px)`;
    if (row.event !== event) {
      row.event = event;
      const [time, type, payload] = row.children;
      time.textContent = millis(event.at);
      type.textContent = event.type;
      payload.textContent = event.payload.length > 300 ? `${event.payload.slice(0, 300)}…` : event.payload;
    }
    const on = event.id === this.chosen;
    row.classList.toggle("on", on);
    row.setAttribute("aria-selected", on);
    if (on) this.root.setAttribute("aria-activedescendant", row.id);
  }

  top() {
    this.follow = true;
    this.root.scrollTop = 0;
  }

  key(event) {
    const { events, root } = this;
    const at = events.findIndex(e => e.id === this.chosen);
    const page = Math.max(1, Math.floor(root.clientHeight / ROW) - 1);
    const step = { ArrowDown: -1, ArrowUp: 1, PageDown: -page, PageUp: page, Home: Infinity, End: -Infinity }[event.key];
    if (step && events.length) {
      event.preventDefault();
      const next = at < 0 ? events.length - 1 : Math.min(events.length - 1, Math.max(0, at + step));
      this.chosen = events[next].id;
      const y = (events.length - 1 - next) * ROW;
      if (y < root.scrollTop) root.scrollTop = y;
      if (y + ROW > root.scrollTop + root.clientHeight) root.scrollTop = y + ROW - root.clientHeight;
      this.onscroll?.();
    } else if (event.key === "Enter" && at >= 0) {
      // Or it would press the button that the dialog puts the focus on.
      event.preventDefault();
      this.open(events[at]);
    }
  }

  close() { this.sized.disconnect(); }
}
