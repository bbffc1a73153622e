// What was said, on the page.

import { Follow } from "./follow.js";
import { element } from "./page.js";
import { endsSentence, srt, txt, vtt } from "./subtitles.js";

const FORMATS = { txt, srt, vtt };
const MOST_GOING = 24; // words of one breath, after which they are read out all the same

export class Captions {
  /** place: the element that shows it. newest: a button that leads to the end, and follows it. */
  constructor(place, newest) {
    Object.assign(this, { place, follow: new Follow(place, newest) });
    this.hint = place.querySelector("#hint");
    this.clear(0);
  }

  word(word) {
    const start = Math.max(0, word.start - this.begun);
    const end = Math.max(start, word.end - this.begun);
    if (!this.going) this.begin(start);
    const turn = this.turns.at(-1);
    this.going.append(turn.length ? ` ${word.text}` : word.text);
    turn.push({ text: word.text, start, end });
    this.unsettled += 1;
    if (this.unsettled >= MOST_GOING || endsSentence(word.text)) this.settle();
    this.follow.scroll();
  }

  /** A paragraph: its time, what is settled, and what is going on, which is not read out yet. */
  begin(start) {
    this.hint.hidden = true;
    if (this.mark) this.mark.textContent = `pause, ${(start - this.turns.at(-1).at(-1).end).toFixed(1)} s`;
    this.turns.push([]);
    const time = element("time", "", minutes(start));
    const text = element("div");
    this.settled = element("span", "settled");
    this.going = element("span", "going");
    this.going.setAttribute("aria-live", "off");
    text.append(this.settled, this.going);
    const turn = element("div", "turn");
    turn.append(time, text);
    this.place.append(turn);
  }

  /** What is going on becomes what was said. */
  settle() {
    this.settled.append(this.going.textContent);
    this.going.textContent = "";
    this.unsettled = 0;
  }

  /** A turn has ended. */
  pause() {
    if (!this.going) return;
    this.settle();
    this.mark = element("span", "pause", "pause");
    this.mark.setAttribute("aria-live", "off");
    this.going.replaceWith(" ", this.mark);
    this.going = null;
    this.follow.scroll();
  }

  /** begun: the time that is zero from now on. */
  clear(begun) {
    this.begun = begun;
    this.turns = [];
    this.unsettled = 0;
    this.settled = this.going = this.mark = null;
    this.place.querySelectorAll(".turn").forEach((turn) => turn.remove());
    this.hint.hidden = false;
  }

  /** kind: "txt", "srt" or "vtt". */
  file(kind) {
    return FORMATS[kind](this.turns);
  }
}

function minutes(seconds) {
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  return `${two(seconds / 60)}:${two(seconds % 60)}`;
}
