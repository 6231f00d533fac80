// Small charts, drawn as SVG from the hub's own figures.
import { h } from "./dom.js";
import { clock } from "./words.js";

const W = 300, H = 90;

/**
 * A tile: a figure and its last quarter of an hour. `lines` are `{name, of, kind}`, where `of` picks a number of a sample;
 * a single one needs no legend, and its peak stands there.
 * @param {object[]} samples  oldest first, each with `at`
 * @param {number} step  seconds between two of them
 */
export function tile(title, now, unit, samples, lines, format, step = 5) {
  // A quarter of an hour; of a hub that has just started, less, so that there is something to see.
  const minutes = [2, 5, 15].find(m => samples.length <= m * 60 / step + 1) || 15;
  const all = minutes * 60 / step + 1;
  const values = lines.map(line => samples.map(line.of));
  const top = nice(Math.max(0, ...values.flat().filter(v => v !== null)));
  // Time runs to the right edge; what was before the hub started is empty.
  const x = n => W - ((samples.length - 1 - n) / Math.max(1, all - 1)) * W;
  const y = v => H - (v / top) * H;
  const draw = numbers => {
    let path = "", pen = false;
    numbers.forEach((v, n) => {
      if (v === null) { pen = false; return; }
      path += `${pen ? "L" : "M"}${x(n).toFixed(1)} ${y(v).toFixed(1)}`;
      pen = true;
    });
    return path;
  };
  const known = values[0].filter(v => v !== null);
  const first = values[0].findIndex(v => v !== null), last = values[0].findLastIndex(v => v !== null);
  const area = known.length > 1 && known.length === last - first + 1 ? `${draw(values[0])}L${x(last).toFixed(1)} ${H}L${x(first).toFixed(1)} ${H}Z` : "";
  const most = numbers => { const some = numbers.filter(v => v !== null); return some.length ? format(Math.max(...some)) : "–"; };
  const words = `${title}, the last ${minutes} minutes: ` + lines.map((line, n) => {
    const some = values[n].filter(v => v !== null);
    return some.length ? `${line.name} now ${format(some.at(-1))}, at most ${most(some)}` : `${line.name} unknown`;
  }).join("; ");
  const entry = (line, name, value) => h("span", { class: line.kind || null }, h("i"), `${name} `, h("b", null, value));
  const legend = index => lines.map((line, n) => (index === undefined && lines.length === 1 ? entry(line, "peak", most(values[n]))
    : entry(line, line.name, values[n].length ? format(values[n].at(index ?? -1)) : "–")));
  const ago = `${minutes} min ago`;

  const hair = h("line", { class: "at", y1: 0, y2: H, x1: -9, x2: -9, visibility: "hidden" });
  const svg = h("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    [0, .5, 1].map(at => h("line", { x1: 0, x2: W, y1: H * at, y2: H * at })),
    h("path", { class: "area", d: area }), lines.map((line, n) => h("path", { class: line.kind || "a", d: draw(values[n]) })), hair);
  const parts = svg => { const card = svg.closest(".tile"); return { legend: card.querySelector(".legend"), when: card.querySelector(".axis span"), hair: svg.querySelector(".at") }; };
  svg.onpointermove = ({ currentTarget, clientX }) => {
    const box = currentTarget.getBoundingClientRect(), at = parts(currentTarget);
    const index = samples.length - 1 - Math.round((1 - (clientX - box.left) / box.width) * (all - 1));
    const there = index >= 0 && index < samples.length;
    at.hair.setAttribute("visibility", there ? "visible" : "hidden");
    if (there) { at.hair.setAttribute("x1", x(index)); at.hair.setAttribute("x2", x(index)); }
    at.legend.replaceChildren(...legend(there ? index : undefined));
    at.when.textContent = there ? clock(samples[index].at) : ago;
  };
  svg.onpointerleave = ({ currentTarget }) => {
    const at = parts(currentTarget);
    at.hair.setAttribute("visibility", "hidden");
    at.legend.replaceChildren(...legend());
    at.when.textContent = ago;
  };
  return h("section", { class: "card tile", "aria-label": title }, h("h2", null, title),
    h("p", { class: "big" }, now, unit ? h("small", null, unit) : null), h("p", { class: "legend" }, legend()),
    h("div", { class: "plot" }, svg, h("span", { class: "most", "aria-hidden": "true" }, format(top))),
    h("p", { class: "axis", "aria-hidden": "true" }, h("span", null, ago), h("span", null, "now")));
}

/** The next round number, so that the scale does not jump at each sample. */
function nice(max) {
  if (max <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(max));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map(n => n * unit).find(n => n >= max) || max;
}
