// The newest events of a live session, in bounded memory.
import { parse } from "./api.js";

/** At most so many are kept. */
export const KEPT = 5000;

/** Events by arrival, the newest KEPT of them. */
export class Ring {
  constructor() { this.slots = []; }
  add(event) {
    this.slots.push(event);
    // In steps, so that it costs nothing for each.
    if (this.slots.length > KEPT + 500) this.slots.splice(0, this.slots.length - KEPT);
  }
}

/**
 * Tells what has come from what comes again around the seam of a resume: ids of a type only rise, so the newest of each
 * type is all there is to remember.
 */
export class Seen {
  constructor() { this.newest = new Map(); }
  isNew({ type, id }) {
    const last = this.newest.get(type);
    // Decimal, without leading zeros: the longer one is the greater one.
    return last === undefined || id.length > last.length || (id.length === last.length && id > last);
  }
  /** Whether it is new; from now on it is not. */
  take(event) {
    if (!this.isNew(event)) return false;
    this.newest.set(event.type, event.id);
    return true;
  }
}

/** An event out of its frame, its payload exactly as it was sent. */
export function read(frame) {
  const payload = frame.indexOf(',"payload":'), end = frame.lastIndexOf(',"created_at":"');
  if (frame.startsWith('{"id":"') && payload > 0 && end > payload) {
    const start = JSON.parse(`${frame.slice(0, payload)}}`);
    return { id: start.id, type: start.type, payload: frame.slice(payload + 11, end), at: JSON.parse(`{${frame.slice(end + 1)}`).created_at };
  }
  const { id, type, payload: value, created_at } = parse(frame);
  return { id, type, payload: JSON.stringify(value), at: created_at };
}
