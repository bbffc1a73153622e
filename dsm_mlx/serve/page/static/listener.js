// A socket that hears: it comes back when it is lost, and its times go on.

import { audioMessage, decode, markerMessage } from "./msgpack.js";

const RATE = 24000;
const FRAME_SECONDS = 0.08;
const PAUSE = 2; // which of the probabilities: that nobody speaks for 2 s
const LONGEST_WAIT = 10; // seconds between two attempts
const MOST_WAITING = 10; // seconds of sound that are kept until there is a connection
const MOST_BEHIND = 20; // seconds; then the server, or the way to it, is given up
const LAST_WORDS = 5; // seconds that they may take

export class Listener {
  /**
   * key: gives the key that the server wants. begun: the time of the first sound. check: a promise
   * that the server may be asked again, after a socket that it did not take.
   * onWord: {text, start, end} in seconds. onPause: nobody speaks any more. onLag: seconds between
   * what came and what was heard. onError: a sentence for people. onState: "connecting",
   * "listening", "lost" or "stopped".
   */
  constructor({ key, begun, check, onWord, onPause, onLag, onError, onState }) {
    Object.assign(this, { key, begun, check, onWord, onPause, onLag, onError, onState });
    this.sent = this.heard = 0; // seconds of sound on this socket
    this.waiting = []; // blocks until there is one
    this.tries = 0;
    this.open = false;
  }

  /** Of the sound that comes next, in seconds. */
  get time() {
    return this.begun + this.sent + this.waiting.reduce((sum, pcm) => sum + pcm.length, 0) / RATE;
  }

  start() {
    this.wanted = true;
    this.connect();
  }

  connect() {
    this.onState("connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const key = this.key();
    const query = key ? `?auth_id=${encodeURIComponent(key)}` : "";
    this.socket = new WebSocket(`${scheme}://${location.host}/api/asr-streaming${query}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.take(decode(data));
    this.socket.onclose = () => this.lost();
    this.word = null;
    this.quiet = true;
  }

  take(message) {
    if (message.type === "Ready") {
      this.open = true;
      this.tries = 0;
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
      this.socket.close();
    }
  }

  /** Float32Array of sound. Without a connection the last of it waits for one; time goes on. */
  push(pcm) {
    if (this.open) {
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
    this.socket.send(audioMessage(pcm)); // which does nothing while it closes
    this.sent += pcm.length / RATE;
  }

  /** It takes too long to tell what it heard, or has gone without a word. */
  giveUp() {
    this.onError(`The server is more than ${MOST_BEHIND} s behind; what it has not heard is left out.`);
    this.leave();
  }

  /** Without waiting until the other side agrees. */
  leave() {
    if (this.socket) {
      this.socket.onclose = this.socket.onmessage = null;
      this.socket.close();
    }
    this.lost();
  }

  lost() {
    const taken = this.open;
    this.open = false;
    this.begun += this.sent;
    this.sent = this.heard = 0;
    clearTimeout(this.timer);
    if (!this.wanted) {
      this.onState("stopped");
      return;
    }
    this.onState("lost");
    const wait = Math.min(LONGEST_WAIT, 0.5 * 2 ** this.tries++);
    this.timer = setTimeout(() => this.again(taken), 1000 * wait);
  }

  async again(taken) {
    if (!taken) await this.check().catch(() => {}); // it is not there: connecting tells so, too
    if (this.wanted) this.connect();
  }

  /** The last words come, then it is over. */
  stop() {
    this.wanted = false;
    clearTimeout(this.timer);
    if (this.open) {
      this.socket.send(markerMessage(1));
      this.timer = setTimeout(() => this.leave(), 1000 * LAST_WORDS);
    } else {
      this.leave();
    }
  }
}
