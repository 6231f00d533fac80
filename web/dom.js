// Elements: made, brought into the page without moving focus or scrolling, and the few kinds that all pages share.

/** An element. Attributes that begin with "on" are handlers; `null` and `false` leave them out. */
export function h(tag, attributes, ...children) {
  const svg = tag === "svg" || tag === "path" || tag === "line";
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else if (name === "value" && tag !== "option" && tag !== "meter") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...some(children));
  return element;
}
const some = children => children.flat(9).filter(c => c !== null && c !== undefined && c !== false);
const HANDLERS = ["onclick", "onsubmit", "onpointermove", "onpointerleave", "onfocus", "onblur", "onkeydown", "onchange", "oninput"];
const keyOf = node => node?.dataset?.key;

/** Makes `old` like `wanted`, keeping what is there. Children with a `data-key` are found again wherever they are now. */
export function patch(old, wanted) {
  if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName || keyOf(old) !== keyOf(wanted)) {
    old.replaceWith(wanted);
    return;
  }
  if (old.nodeType === 3) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  for (const { name, value } of [...wanted.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const on of HANDLERS) if (old[on] !== wanted[on]) old[on] = wanted[on];
  const keyed = new Map([...old.childNodes].filter(keyOf).map(child => [keyOf(child), child]));
  let at = old.firstChild;
  for (const child of [...wanted.childNodes]) {
    const same = keyed.get(keyOf(child));
    if (same) {
      keyed.delete(keyOf(child));
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      patch(same, child);
    } else if (at && !keyOf(at) && !keyOf(child)) {
      const next = at.nextSibling;
      patch(at, child);
      at = next;
    } else old.insertBefore(child, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
/** Makes the children of `root` these; what had the focus keeps it, and the page has it where that is gone. */
export function show(root, ...children) {
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const shell = root.cloneNode(false);
  shell.append(...some(children));
  patch(root, shell);
  if (focused && document.activeElement !== focused) (focused.isConnected ? focused : document.getElementById("main")).focus({ preventScroll: true });
}

export const pill = state => h("span", { class: `pill ${state}` }, state);
export const fact = (name, ...value) => h("div", null, h("dt", null, name), h("dd", null, ...value));
export const head = (title, sub, ...tools) => h("div", { class: "head" }, h("div", null, h("h1", null, title), sub ? h("p", null, sub) : null), h("div", { class: "row" }, tools));
/** A field that finds rows by their words; it stands beside what is refreshed. */
export const finder = (label, oninput) => h("input", { type: "search", class: "finder", placeholder: label, "aria-label": label, spellcheck: "false", oninput });

/** Most rows of a table: more are found by their words. */
export const ROWS = 200;
/**
 * A table; a column named with a leading "#" holds numbers, one named "" buttons. On a phone each row is a card, and each
 * cell says its column.
 */
export function table(caption, columns, rows) {
  const kind = columns.map(c => (c.startsWith("#") ? "num" : c === "" ? "act" : null));
  const names = columns.map(c => c.replace("#", ""));
  const cell = (content, n) => h("td", { class: kind[n], "data-th": n && names[n] ? names[n] : null }, content);
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    h("table", null, h("caption", { class: "hide" }, caption),
      h("thead", null, h("tr", null, names.map((name, n) => h("th", { scope: "col", class: kind[n] }, name || h("span", { class: "hide" }, "Actions"))))),
      h("tbody", null, rows.map(row => h("tr", row.key ? { "data-key": row.key } : null, row.map(cell))))));
}
/** A row that is found again at the next refresh. */
export const keyed = (key, cells) => Object.assign(cells, { key });
