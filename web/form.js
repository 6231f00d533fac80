// Fields with their errors: a problem document's pointers lead to where the words are shown.
import { h } from "./dom.js";

let fields = 0;
/** A labelled input whose errors are shown beneath it. */
export function field(label, at, input, hint) {
  const id = `f${++fields}`;
  input.id = id;
  input.setAttribute("data-at", at);
  input.setAttribute("aria-describedby", `${id}e`);
  return h("div", { class: "field" }, h("label", { for: id }, h("span", null, label), hint ? h("small", null, hint) : null), input, h("span", { class: "wrong", id: `${id}e`, role: "alert" }));
}
/** A line for what has no field of its own. */
export const rest = () => h("p", { class: "wrong", role: "alert" });
/** A whole number as one; anything else as it is, for the hub to say what is wrong with it. */
export const numeric = value => (/^\d{1,15}$/.test(value) ? Number(value) : value);

/** Puts the errors of a problem at their fields (`data-at`: the JSON pointer); what has no field goes to `left`. */
export function showErrors(form, errors, left) {
  for (const input of form.querySelectorAll("[data-at]")) {
    input.removeAttribute("aria-invalid");
    const words = document.getElementById(input.getAttribute("aria-describedby"));
    if (words) words.textContent = "";
  }
  const homeless = [];
  let first = null;
  for (const { pointer, detail } of errors) {
    let at = pointer, input;
    while (!(input = form.querySelector(`[data-at="${CSS.escape(at)}"]`)) && at.includes("/")) at = at.slice(0, at.lastIndexOf("/"));
    if (!input) { homeless.push(`${pointer} ${detail}`.trim()); continue; }
    for (let d = input.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
    input.setAttribute("aria-invalid", "true");
    const words = document.getElementById(input.getAttribute("aria-describedby"));
    if (words) words.textContent += `${words.textContent ? "; " : ""}${at === pointer ? "" : `${pointer.slice(at.length)} `}${detail}`;
    first ||= input;
  }
  left.textContent = homeless.join("; ");
  first?.focus();
}
/** Shows what went wrong with a form: at its fields where it is about some. */
export function showProblem(form, error, left) {
  showErrors(form, error.errors || [], left);
  if (!error.errors?.length) left.textContent = error.message;
}
