// An answer: its words, and where they stand in its sound.

export class Answer {
  /** response, id: of the response that it belongs to, and of its item. */
  constructor(response, id) {
    Object.assign(this, { response, id });
    this.pieces = []; // of sound, as the player has them
    this.seconds = 0; // of sound that came
    this.words = []; // {text, start}: what came after so many seconds of sound
    this.done = false; // nothing more of it comes
    this.cut = false; // nothing more of it is heard
  }

  add(text) {
    this.words.push({ text, start: this.seconds });
  }

  get text() {
    return joined(this.words);
  }

  /** The words that have begun after so many seconds. */
  begun(seconds) {
    return joined(this.words.filter(({ start }) => start <= seconds));
  }

  /** The words that have ended by then. */
  ended(seconds) {
    const end = (i) => this.words[i + 1]?.start ?? this.seconds;
    return joined(this.words.filter((_, i) => end(i) <= seconds));
  }
}

function joined(words) {
  return words.map(({ text }) => text).join("");
}
