// A socket that hears: it comes back when it is lost, and its times go on.

import { audioMessage, decode, markerMessage } from "./msgpack.js";

const RATE = 24000;
const FRAME_SECONDS = 0.08;
const PAUSE = 2; // which of the probabilities: that nobody speaks for 2 s
const LONGEST_WAIT = 10; // seconds between two attempts

export class Listener {
  /**
   * onWord: {text, start, end} in seconds since the beginning. onPause: the time of one.
   * onState: "connecting", "listening", {lag} in seconds, {error}, "lost" or "stopped".
   */
  constructor({ key, onWord, onPause, onState }) {
    Object.assign(this, { key, onWord, onPause, onState });
    this.begun = 0; // seconds of sound before this socket
    this.sent = 0; // seconds of sound on this socket
    this.tries = 0;
    this.open = false;
  }

  start() {
    this.wanted = true;
    this.connect();
  }

  connect() {
    this.onState("connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const query = this.key ? `?auth_id=${encodeURIComponent(this.key)}` : "";
    this.socket = new WebSocket(`${scheme}://${location.host}/api/asr-streaming${query}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.take(decode(data));
    this.socket.onclose = () => this.lost();
    this.sent = this.steps = 0;
    this.word = null;
    this.quiet = true;
  }

  take(message) {
    if (message.type === "Ready") {
      this.open = true;
      this.tries = 0;
      this.onState("listening");
    } else if (message.type === "Word") {
      this.word = { text: message.text, start: this.begun + message.start_time };
    } else if (message.type === "EndWord" && this.word) {
      this.onWord({ ...this.word, end: this.begun + message.stop_time });
      this.word = null;
      this.quiet = false;
    } else if (message.type === "Step") {
      this.steps += 1;
      const heard = this.steps * FRAME_SECONDS;
      this.onState({ lag: Math.max(0, this.sent - heard) });
      if (message.prs[PAUSE] > 0.5 && !this.quiet) {
        this.quiet = true;
        this.onPause(this.begun + heard);
      }
    } else if (message.type === "Error") {
      this.onState({ error: message.message });
    } else if (message.type === "Marker") {
      this.socket.close();
    }
  }

  /** Float32Array of sound; without a connection it is lost, and time goes on. */
  push(pcm) {
    const seconds = pcm.length / RATE;
    if (this.open && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(audioMessage(pcm));
      this.sent += seconds;
    } else {
      this.begun += seconds;
    }
  }

  lost() {
    this.open = false;
    this.begun += this.sent;
    this.sent = 0;
    if (!this.wanted) {
      this.onState("stopped");
      return;
    }
    this.onState("lost");
    const wait = Math.min(LONGEST_WAIT, 0.5 * 2 ** this.tries++);
    this.timer = setTimeout(() => this.connect(), 1000 * wait);
  }

  /** The last words come, then it is over. */
  stop() {
    this.wanted = false;
    clearTimeout(this.timer);
    if (this.open && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(markerMessage(1));
    } else {
      this.socket?.close();
      this.onState("stopped");
    }
  }
}
