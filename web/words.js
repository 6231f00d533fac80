// Numbers, times and sizes in words, the same on every page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = n => (n === null || n === undefined ? "–" : whole.format(n));
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
/** A rate or a time, with as many digits as say something. */
export const figure = n => (n === null || n === undefined ? "–" : n === 0 ? "0" : n < 0.1 ? n.toFixed(2) : n < 10 ? n.toFixed(1).replace(/\.0$/, "") : whole.format(n));
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  const s = ms / 1000;
  if (s < 1) return `${Math.round(ms)} ms`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}
export function size(n) {
  if (n === null || n === undefined) return "–";
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024) return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1024;
  }
  return `${n.toFixed(1)} TiB`;
}

const two = n => String(n).padStart(2, "0");
export const clock = at => { const d = new Date(at); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };
export const millis = at => `${clock(at)}.${String(new Date(at).getMilliseconds()).padStart(3, "0")}`;
export const day = at => { const d = new Date(at); return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`; };
export const stamp = at => `${day(at)} ${millis(at)}`;
/** A time of today, or of another day with that day. */
export const when = at => (day(at) === day(Date.now()) ? clock(at) : `${day(at)} ${clock(at)}`);

// Lifetimes, as registrations have them.
const UNITS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
const parts = ttl => [...ttl.matchAll(/(\d+)\s*([a-z]+)/gi)];
/** "1h30m" as "1 h 30 m". */
export const kept = ttl => (/^\s*\d/.test(ttl) ? parts(ttl).map(([, n, unit]) => `${n} ${unit}`).join(" ") : ttl);
/** In seconds; only to see which of two is longer. */
export const lifetime = ttl => (ttl === "permanent" ? Infinity : parts(ttl).reduce((sum, [, n, unit]) => sum + n * (UNITS[unit[0].toLowerCase()] || 0), 0));
