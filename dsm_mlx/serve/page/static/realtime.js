// A socket that converses, in the shape of OpenAI's Realtime: it comes back when it is lost, and the
// server is told again what was said.

import { Connection } from "./connection.js";
import { base64 } from "./pcm.js";

const MOST_WAITING = 40; // blocks of sound that are kept until there is a connection

export class Realtime {
  /**
   * key, check: as `Connection` has them. model: gives the one that answers. session: gives what is
   * wished, as `session.update` has it. history: gives what was said, as [{role, text}]. onEvent: of
   * the server. onState: "connecting", "open", "lost" or "stopped".
   */
  constructor({ key, check, model, session, history, onEvent, onState }) {
    Object.assign(this, { session, history, onEvent, onState });
    this.waiting = [];
    this.asks = false; // for an answer, as soon as there is a connection
    this.connection = new Connection({
      path: () => `/v1/realtime?model=${encodeURIComponent(model())}`,
      key,
      check,
      onMessage: (data) => this.take(JSON.parse(data)),
      onLost: () => {},
      onState,
    });
  }

  start() {
    this.connection.start();
  }

  get open() {
    return this.connection.open;
  }

  take(event) {
    if (event.type === "session.created") this.begin();
    this.onEvent(event);
  }

  begin() {
    this.connection.taken();
    this.update();
    for (const { role, text } of this.history()) this.add(role, text);
    if (this.asks) this.send({ type: "response.create" });
    this.asks = false;
    this.waiting.splice(0).forEach((pcm) => this.push(pcm));
    this.onState("open");
  }

  /** What is wished has changed. */
  update() {
    this.send({ type: "session.update", session: this.session() });
  }

  /** Something that was said, or written. */
  add(role, text) {
    const content = [{ type: role === "user" ? "input_text" : "output_text", text }];
    this.send({ type: "conversation.item.create", item: { type: "message", role, content } });
  }

  /** An answer to what was said. Without a connection it is asked for when there is one. */
  ask() {
    if (this.open) this.send({ type: "response.create" });
    else this.asks = true;
  }

  /** Without a connection nobody hears it. */
  send(event) {
    if (this.open) this.connection.send(JSON.stringify(event));
  }

  /** Float32Array of 80 ms of sound. Without a connection the last of it waits for one. */
  push(pcm) {
    if (this.open) {
      this.send({ type: "input_audio_buffer.append", audio: base64(pcm) });
      return;
    }
    this.waiting.push(pcm);
    if (this.waiting.length > MOST_WAITING) this.waiting.shift();
  }

  stop() {
    this.connection.stop();
  }
}
