// The turns of a conversation, on the page.

import { Follow } from "./follow.js";
import { element } from "./page.js";

const LATEST = 3; // turns
const NAMES = { user: "You", assistant: "Assistant" };

export class Dialogue {
  /** place: the element that shows it. newest: a button that leads to the end, and follows it. */
  constructor(place, newest) {
    Object.assign(this, { place, follow: new Follow(place, newest) });
    this.hint = place.querySelector("#hint");
    this.clear();
  }

  clear() {
    this.begun = performance.now();
    this.turns = new Map(); // by their ids, in their order
    this.place.querySelectorAll(".turn").forEach((turn) => turn.remove());
    this.hint.hidden = false;
  }

  /** What is known of a turn; what has no word yet is not shown. */
  turn(id, role) {
    if (!this.turns.has(id)) this.turns.set(id, { role, text: "", latency: null, written: null });
    return this.turns.get(id);
  }

  /** text: what was said and will stay. going: what was said after it, which may change. */
  show(id, role, text, going = "") {
    const turn = this.turn(id, role);
    turn.text = text;
    turn.time = (performance.now() - this.begun) / 1000;
    if (!text && !going) return;
    if (!turn.shown) this.begin(id, turn);
    turn.settled.textContent = text;
    turn.going.textContent = going;
    this.follow.scroll();
  }

  begin(id, turn) {
    this.turns.delete(id); // its place is where its first word came
    this.turns.set(id, turn);
    this.hint.hidden = true;
    turn.settled = element("span", "settled");
    turn.going = element("span", "going");
    turn.going.setAttribute("aria-live", "off");
    turn.said = element("div");
    turn.said.append(turn.settled, turn.going);
    turn.shown = element("div", `turn ${turn.role}`);
    turn.shown.append(element("span", "who", NAMES[turn.role]), turn.said);
    this.place.append(turn.shown);
    if (turn.latency) this.tell(turn);
  }

  /** More words that will stay; of an answer that was cut there are none. */
  append(id, role, words) {
    const turn = this.turn(id, role);
    if (turn.written === null) this.show(id, role, turn.text + words);
  }

  /** The person's turn as far as it is known, with the word in progress. */
  partial(id, text) {
    const settled = this.turn(id, "user").text;
    this.show(id, "user", settled, text.startsWith(settled) ? text.slice(settled.length) : "");
  }

  /** An answer was stopped. written: what was to be said. */
  cut(id, written) {
    const turn = this.turn(id, "assistant");
    turn.written = written;
    turn.going?.replaceWith(" ", element("span", "mark", "interrupted"));
  }

  /** What was heard of an answer that was cut, where that is known. */
  correct(id, text) {
    if (text && this.turns.get(id)?.shown) this.show(id, "assistant", text);
  }

  /** How long it took until an answer was heard, in seconds, by stages. */
  latency(id, { last_word, first_token, first_sound, total }) {
    const turn = this.turn(id, "assistant");
    turn.latency = { last_word, first_token, first_sound, total };
    if (turn.shown) this.tell(turn);
  }

  tell(turn) {
    const { last_word, first_token, first_sound, total } = turn.latency;
    const [end, token, sound, all] = [last_word, first_token, first_sound, total].map((s) => s.toFixed(2));
    const text = `${all} s to the first sound: end of turn ${end}, first token ${token}, first sound ${sound}`;
    const told = element("p", "latency", text);
    told.setAttribute("aria-live", "off");
    turn.said.append(told);
    this.follow.scroll();
  }

  /** The person goes on: the turn becomes another one. What a server forgets is not the latest. */
  takeBack(id) {
    const place = [...this.turns.keys()].indexOf(id);
    if (place < this.turns.size - LATEST) return;
    this.turns.get(id)?.shown?.remove();
    this.turns.delete(id);
    this.hint.hidden = this.spoken.length > 0;
  }

  get spoken() {
    return [...this.turns.values()].filter((turn) => turn.text.trim());
  }

  /** kind: "txt" or "jsonl", as `dsm-chat --transcript` writes them. */
  file(kind) {
    return this.spoken.map((turn) => `${kind === "txt" ? line(turn) : JSON.stringify(fields(turn))}\n`).join("");
  }
}

function line({ role, text, written }) {
  const who = role === "user" ? "you" : role;
  return `${who}: ${text.trim()}${written === null ? "" : " -- (interrupted)"}`;
}

function fields({ role, text, time, latency, written }) {
  const found = { role, text: text.trim(), time: Number(time.toFixed(2)) };
  if (latency) found.latency = latency;
  if (written !== null) Object.assign(found, { written, interrupted: true });
  return found;
}
