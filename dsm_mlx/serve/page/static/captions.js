// What was said: on the page, and as files.

const LONGEST_LINE = 42; // signs
const LONGEST_CUE = 6; // seconds

export class Captions {
  /** place: the element that shows it. */
  constructor(place) {
    this.place = place;
    this.hint = place.querySelector("#hint");
    this.turns = []; // lists of words: {text, start, end}
    this.follow = true;
    place.addEventListener("scroll", () => {
      this.follow = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    });
  }

  word(word) {
    this.hint.hidden = true;
    if (!this.paragraph) {
      this.turns.push([]);
      this.paragraph = document.createElement("p");
      const time = document.createElement("time");
      time.textContent = clock(word.start).slice(3, 8);
      this.text = document.createElement("span");
      this.text.className = "going";
      this.paragraph.append(time, " ", this.text);
      this.place.append(this.paragraph);
    }
    const turn = this.turns.at(-1);
    this.text.append(turn.length ? ` ${word.text}` : word.text);
    turn.push(word);
    this.scroll();
  }

  /** A turn has ended: its words are settled. */
  pause() {
    if (!this.paragraph) return;
    this.text.classList.remove("going");
    const mark = document.createElement("span");
    mark.className = "pause";
    mark.textContent = " ¶";
    mark.setAttribute("aria-label", "pause");
    this.paragraph.append(mark);
    this.paragraph = null;
    this.scroll();
  }

  clear() {
    this.turns = [];
    this.paragraph = null;
    this.place.querySelectorAll("p:not(#hint)").forEach((paragraph) => paragraph.remove());
    this.hint.hidden = false;
  }

  scroll() {
    if (this.follow) this.place.scrollTop = this.place.scrollHeight;
  }

  get empty() {
    return !this.turns.length;
  }

  /** kind: "txt", "srt" or "vtt". */
  file(kind) {
    if (kind === "txt") {
      return this.turns.map((turn) => turn.map((word) => word.text).join(" ")).join("\n") + "\n";
    }
    const point = kind === "srt" ? "," : ".";
    const blocks = cues(this.turns).map(({ start, end, text }, i) => {
      const number = kind === "srt" ? `${i + 1}\n` : "";
      return `${number}${clock(start, point)} --> ${clock(end, point)}\n${text}\n`;
    });
    return (kind === "vtt" ? "WEBVTT\n\n" : "") + blocks.join("\n");
  }
}

/** Words of turns as captions of one line. */
export function cues(turns) {
  const found = [];
  for (const turn of turns) {
    let cue = null;
    for (const { text, start, end } of turn) {
      const long = cue && cue.text.length + 1 + text.length > LONGEST_LINE;
      if (!cue || long || end - cue.start > LONGEST_CUE) {
        cue = { start, end, text };
        found.push(cue);
      } else {
        cue.text += ` ${text}`;
        cue.end = end;
      }
    }
  }
  return found;
}

/** Seconds as hours, minutes, seconds and milliseconds. */
export function clock(seconds, point = ".") {
  const all = Math.round(1000 * seconds);
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const rest = String(all % 1000).padStart(3, "0");
  return `${two(all / 3600000)}:${two((all / 60000) % 60)}:${two((all / 1000) % 60)}${point}${rest}`;
}
