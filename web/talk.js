// What is said and asked: notes in a corner, dialogs, questions before what cannot be undone.
import { h } from "./dom.js";

/** Says something in a corner and to screen readers. */
export function say(text, bad) {
  const box = document.getElementById("says");
  const line = h("p", { class: bad ? "bad" : null }, text);
  box.append(line);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => line.remove(), bad ? 9000 : 5000);
}
/** Runs what a button does; what goes wrong is said, unless somebody is asked to sign in. */
export async function attempt(work) {
  try { return await work(); } catch (error) { if (error.name !== "AbortError" && error.status !== 401) say(error.message, true); return undefined; }
}

let dialogs = 0;
/** Opens a dialog; resolves with what `close(value)` was given, or undefined. Focus goes back where it was. */
export function dialog(title, build, { wide, easy, veil } = {}) {
  return new Promise(done => {
    const before = document.activeElement;
    const id = `d${++dialogs}`;
    let value;
    // An easy one also closes when something beside it is clicked; a veil hides what is behind it.
    const box = h("dialog", { class: wide ? "wide" : veil ? "veil" : null, "aria-labelledby": id, closedby: easy ? "any" : null });
    const close = result => { value = result; box.close(); };
    box.append(h("div", null, h("h2", { id }, title), build(close)));
    box.addEventListener("close", () => {
      box.remove();
      // What had it may have gone, as a row that was deleted.
      (before?.isConnected && before !== document.body ? before : document.getElementById("main")).focus({ preventScroll: true });
      done(value);
    });
    document.body.append(box);
    box.showModal();
  });
}
/** Asks before something that cannot be undone; `text` says what and to how many. */
export function confirm(title, text, verb, danger = true) {
  return dialog(title, close => parts(
    [text].flat().map(line => h("p", null, line)),
    h("div", { class: "end" },
      h("button", { type: "button", onclick: () => close(false) }, "Cancel"),
      h("button", { type: "button", class: danger ? "main danger" : "main", onclick: () => close(true) }, verb))));
}
/** Several elements as one. */
export function parts(...all) {
  const part = document.createDocumentFragment();
  part.append(...all.flat(9));
  return part;
}

/** Puts a text into the clipboard; where the browser does not let a page do so, it is shown to be taken by hand. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} is in the clipboard.`);
  } catch {
    await dialog(what, close => {
      const area = h("textarea", { readonly: true, "aria-label": what, value: text, onfocus: () => area.select() });
      return parts(area, h("div", { class: "end" }, h("button", { type: "button", class: "main", onclick: () => close() }, "Close")));
    }, { wide: true, easy: true });
  }
}
