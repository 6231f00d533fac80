// Small charts, drawn as SVG from the hub's own figures, and read a moment at a time with pointer or arrow keys.
import { h } from "./dom.js";
import { clock } from "./words.js";

const W = 300, H = 90;

/**
 * The chart that is being read, for each way to read one: `share` of its width, where a pointer is, or the moment `at`
 * that keys have gone to. Charts are drawn anew with each refresh; this stays.
 */
const reading = { pointer: null, keys: null };
const read = title => Object.values(reading).find(r => r?.title === title && r.svg.isConnected);

/**
 * A tile: a figure and its last quarter of an hour. `lines` are `{name, of, kind}`, where `of` picks a number of a sample;
 * a single one needs no legend, and its peak stands there.
 * @param {object[]} samples  oldest first, each with `at`, in Unix ms or as the hub writes it
 */
export function tile(title, now, unit, samples, lines, format) {
  const times = samples.map(s => (typeof s.at === "number" ? s.at : Date.parse(s.at)));
  const end = times.at(-1) || 0;
  // A quarter of an hour; of a hub that has just started, less, so that there is something to see.
  const minutes = [2, 5, 15].find(m => end - times[0] <= m * 60000) || (samples.length ? 15 : 2);
  const values = lines.map(line => samples.map(line.of));
  const top = nice(Math.max(0, ...values.flat().filter(v => v !== null)));
  // Time runs to the right edge; what was before the hub started is empty.
  const x = n => W - (end - times[n]) / (minutes * 60000) * W;
  const y = v => H - (v / top) * H;
  const draw = numbers => {
    let path = "", pen = false;
    numbers.forEach((v, n) => {
      if (v === null || x(n) < 0) { pen = false; return; }
      path += `${pen ? "L" : "M"}${x(n).toFixed(1)} ${y(v).toFixed(1)}`;
      pen = true;
    });
    return path;
  };
  const shown = n => values[0][n] !== null && x(n) >= 0;
  const known = samples.map((_, n) => n).filter(shown);
  const first = known[0], last = known.at(-1);
  const area = known.length > 1 && known.length === last - first + 1 ? `${draw(values[0])}L${x(last).toFixed(1)} ${H}L${x(first).toFixed(1)} ${H}Z` : "";
  const most = numbers => { const some = numbers.filter(v => v !== null); return some.length ? format(Math.max(...some)) : "–"; };
  const words = lines.map((line, n) => {
    const some = values[n].filter(v => v !== null);
    return some.length ? `${line.name} now ${format(some.at(-1))}, at most ${most(some)}` : `${line.name} unknown`;
  }).join("; ");
  const entry = (line, name, value) => h("span", { class: line.kind || null }, h("i"), `${name} `, h("b", null, value));
  const legend = index => lines.map((line, n) => (index === null && lines.length === 1 ? entry(line, "peak", most(values[n]))
    : entry(line, line.name, values[n].length ? format(values[n].at(index ?? -1)) : "–")));

  const oldest = times.findIndex((_, n) => x(n) >= 0);
  /** The sample that is nearest to a moment, none where there is nothing near. */
  const nearest = at => times.reduce((best, t, n) => (x(n) >= 0 && (best === null || Math.abs(t - at) < Math.abs(times[best] - at)) ? n : best), null);
  /** The sample that somebody looks at, if anybody does. */
  const looked = () => {
    const r = samples.length ? read(title) : null;
    if (!r) return null;
    if (r.at !== undefined) return nearest(r.at);
    const at = end - (1 - r.share) * minutes * 60000, n = nearest(at);
    // Beyond the first sample there is nothing.
    return at < times[oldest] - minutes * 1000 ? null : n;
  };
  const hairAt = n => (n === null ? { visibility: "hidden", x1: -9, x2: -9 } : { visibility: "visible", x1: x(n).toFixed(1), x2: x(n).toFixed(1) });
  const told = n => (n === null ? words : `${clock(times[n])}: ${lines.map((line, k) => `${line.name} ${format(values[k][n])}`).join(", ")}`);
  const whenAt = n => (n === null ? `${minutes} min ago` : clock(times[n]));

  const n = looked();
  const hair = h("line", { class: "at", y1: 0, y2: H, ...hairAt(n) });
  // A moment that is read stays the same value, so that a screen reader does not say it again.
  const slider = n => ({ "aria-valuemin": times[oldest] ?? 0, "aria-valuemax": end, "aria-valuenow": times[n] ?? end, "aria-valuetext": told(n) });
  /** Shows what is looked at now, without waiting for the next refresh. */
  const again = svg => {
    const card = svg.closest(".tile"), at = looked();
    for (const [name, value] of Object.entries(hairAt(at))) svg.querySelector(".at").setAttribute(name, value);
    for (const [name, value] of Object.entries(slider(at))) svg.setAttribute(name, value);
    card.querySelector(".legend").replaceChildren(...legend(at));
    card.querySelector(".axis span").textContent = whenAt(at);
  };
  const look = (way, to) => ({ currentTarget: svg }) => { reading[way] = to && { title, svg, ...to }; again(svg); };
  const svg = h("svg", {
    class: "chart", viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", tabindex: 0, role: "slider", "aria-roledescription": "chart", "aria-label": `${title}, the last ${minutes} minutes`, ...slider(n),
    onpointermove: event => {
      const box = event.currentTarget.getBoundingClientRect();
      look("pointer", { share: (event.clientX - box.left) / box.width })(event);
    },
    onpointerleave: look("pointer", null),
    onfocus: event => { if (event.currentTarget.matches(":focus-visible")) look("keys", { at: end })(event); },
    onblur: look("keys", null),
    onkeydown: event => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
      if (!step || !samples.length || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const to = Math.min(samples.length - 1, Math.max(oldest, (looked() ?? samples.length - 1) + step));
      reading.pointer = null;
      look("keys", { at: times[to] })(event);
    },
  }, [0, .5, 1].map(at => h("line", { x1: 0, x2: W, y1: H * at, y2: H * at })),
  h("path", { class: "area", d: area }), lines.map((line, n) => h("path", { class: line.kind || "a", d: draw(values[n]) })), hair);
  return h("section", { class: "card tile", "aria-label": title }, h("h2", null, title),
    h("p", { class: "big" }, now, unit ? h("small", null, unit) : null), h("p", { class: "legend" }, legend(n)),
    h("div", { class: "plot" }, svg, known.length ? null : h("p", { class: "none", "aria-hidden": "true" }, samples.length > 1 ? "Nothing in this time" : "The first figures are on their way"), h("span", { class: "most", "aria-hidden": "true" }, format(top))),
    h("p", { class: "axis", "aria-hidden": "true" }, h("span", null, whenAt(n)), h("span", null, "now")));
}

/** The next round number, so that the scale does not jump at each sample. */
function nice(max) {
  if (max <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(max));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map(n => n * unit).find(n => n >= max) || max;
}
