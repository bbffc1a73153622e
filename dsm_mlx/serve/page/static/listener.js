// A socket that hears: it comes back when it is lost, and its times go on.

import { Connection } from "./connection.js";
import { audioMessage, decode, markerMessage } from "./msgpack.js";

const RATE = 24000;
const FRAME_SECONDS = 0.08;
const PAUSE = 2; // which of the probabilities: that nobody speaks for 2 s
const MOST_WAITING = 10; // seconds of sound that are kept until there is a connection
const MOST_BEHIND = 20; // seconds; then the server, or the way to it, is given up
const LAST_WORDS = 5; // seconds that they may take

export class Listener {
  /**
   * key, check: as `Connection` has them. begun: the time of the first sound.
   * onWord: {text, start, end} in seconds. onPause: nobody speaks any more. onLag: seconds between
   * what came and what was heard. onError: a sentence for people. onState: "connecting",
   * "listening", "lost" or "stopped".
   */
  constructor({ key, begun, check, onWord, onPause, onLag, onError, onState }) {
    Object.assign(this, { begun, onWord, onPause, onLag, onError, onState });
    this.sent = this.heard = 0; // seconds of sound on this socket
    this.waiting = []; // blocks until there is one
    this.connection = new Connection({
      path: () => "/api/asr-streaming",
      key,
      check,
      onMessage: (data) => this.take(decode(data)),
      onLost: () => this.lost(),
      onState,
    });
    this.lost();
  }

  /** Of the sound that comes next, in seconds. */
  get time() {
    return this.begun + this.sent + this.waiting.reduce((sum, pcm) => sum + pcm.length, 0) / RATE;
  }

  start() {
    this.connection.start();
  }

  take(message) {
    if (message.type === "Ready") {
      this.connection.taken();
      this.onState("listening");
      this.waiting.splice(0).forEach((pcm) => this.send(pcm));
    } else if (message.type === "Word") {
      this.word = { text: message.text, start: this.begun + message.start_time };
    } else if (message.type === "EndWord" && this.word) {
      this.onWord({ ...this.word, end: this.begun + message.stop_time });
      this.word = null;
      this.quiet = false;
    } else if (message.type === "Step") {
      this.heard += FRAME_SECONDS;
      this.onLag(Math.max(0, this.sent - this.heard));
      if (message.prs[PAUSE] > 0.5 && !this.quiet) {
        this.quiet = true;
        this.onPause();
      }
    } else if (message.type === "Error") {
      this.onError(`The server says: ${message.message}.`);
    } else if (message.type === "Marker") {
      this.connection.leave();
    }
  }

  /** Float32Array of sound. Without a connection the last of it waits for one; time goes on. */
  push(pcm) {
    if (this.connection.open) {
      this.send(pcm);
      if (this.sent - this.heard > MOST_BEHIND) this.giveUp();
      return;
    }
    this.waiting.push(pcm);
    if (this.waiting.length * pcm.length > MOST_WAITING * RATE) {
      this.begun += this.waiting.shift().length / RATE;
    }
  }

  send(pcm) {
    this.connection.send(audioMessage(pcm));
    this.sent += pcm.length / RATE;
  }

  /** It takes too long to tell what it heard, or has gone without a word. */
  giveUp() {
    this.onError(`The server is more than ${MOST_BEHIND} s behind; what it has not heard is left out.`);
    this.connection.leave();
  }

  /** The next socket's times follow the last one's. */
  lost() {
    this.begun += this.sent;
    this.sent = this.heard = 0;
    this.word = null;
    this.quiet = true;
  }

  /** The last words come, then it is over. */
  stop() {
    this.connection.stop(markerMessage(1), LAST_WORDS);
  }
}
