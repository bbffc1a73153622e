// A conversation: what the server tells becomes turns and sound; what was heard of it is told back.

import { samples } from "./pcm.js";
import { RATE } from "./player.js";

const TOLD_EVERY = 100; // milliseconds, what has been heard of an answer
const NEAR = 0.001; // seconds from its end: heard
const LATE = "late"; // the name of events that may come too late, which is no error

export class Conversation {
  /**
   * dialogue: shows the turns. player: plays the answers. send: an event to the server. onState:
   * "listening", "thinking" or "speaking". onError: a sentence for people.
   */
  constructor({ dialogue, player, send, onState, onError }) {
    Object.assign(this, { dialogue, player, send, onState, onError });
    this.answers = new Map(); // by the ids of their items; those that are being made, or heard
    this.response = null; // the id of the one that is being made
  }

  /** The answers of which something is to be heard. */
  get audible() {
    return [...this.answers.values()].filter((answer) => answer.pieces.length && !answer.cut);
  }

  get state() {
    if (this.audible.length) return "speaking";
    return this.response ? "thinking" : "listening";
  }

  /** An event of the server. Kinds that are not known mean nothing here. */
  take(event) {
    const before = this.state;
    if (Object.hasOwn(EVENTS, event.type)) EVENTS[event.type](this, event);
    if (this.state !== before) this.onState(this.state);
  }

  /** Another answer begins; response, id: of the response that it belongs to, and of its item. */
  begin(response, id) {
    // pieces, seconds: of the sound that came. text: all that is to be said. done: nothing more
    // comes of it. cut: nothing more of it is heard.
    this.answers.set(id, { response, id, pieces: [], seconds: 0, text: "", done: false, cut: false });
  }

  sound(answer, pcm) {
    if (answer.cut || !pcm.length) return;
    answer.pieces.push(this.player.write(pcm));
    answer.seconds += pcm.length / RATE;
    this.timer ??= setInterval(() => this.tell(), TOLD_EVERY);
  }

  tellOf(type, fields) {
    this.send({ type, event_id: LATE, ...fields });
  }

  /** The server is told what has been heard by now; it tells which words these are. */
  tell() {
    for (const answer of this.audible) {
      const heard = this.player.heard(answer.pieces);
      this.tellOf("dsm_mlx.played", { item_id: answer.id, audio_ms: milliseconds(heard) });
      if (answer.done && heard > answer.seconds - NEAR) this.leave(answer);
    }
  }

  /** Nothing more comes of an answer, and it has been heard or cut. */
  leave(answer) {
    this.answers.delete(answer.id);
    if (this.audible.length) return;
    clearInterval(this.timer);
    this.timer = null;
    this.onState(this.state);
  }

  /** What is being said stops where it was heard, and the server is told where. */
  cut() {
    this.player.stop();
    for (const answer of this.answers.values()) {
      if (answer.cut) continue;
      answer.cut = true;
      const heard = this.player.heard(answer.pieces);
      const where = { item_id: answer.id, content_index: 0, audio_end_ms: milliseconds(heard) };
      if (answer.pieces.length) this.tellOf("conversation.item.truncate", where);
      this.dialogue.cut(answer.response, answer.text);
      if (answer.done) this.leave(answer);
    }
  }

  /** As by a button. */
  interrupt() {
    if (this.response) this.tellOf("response.cancel", { response_id: this.response });
    this.cut();
    this.onState(this.state);
  }

  /** Of a response that will not go on. */
  end({ id, status, status_details: details, output }) {
    if (this.response === id) this.response = null;
    if (status === "failed") this.onError(`There is no answer: ${details?.error?.message ?? status}.`);
    const answers = [...this.answers.values()].filter(({ response }) => response === id);
    for (const answer of answers) answer.done = true;
    if (status === "cancelled") {
      if (answers.some((answer) => !answer.cut)) this.cut();
      this.dialogue.correct(id, output?.[0]?.content?.[0]?.transcript);
    }
    for (const answer of answers) if (answer.cut || !answer.pieces.length) this.leave(answer);
  }

  /** The connection has gone, and with it what was about to be said. */
  lost() {
    this.response = null;
    for (const answer of this.answers.values()) answer.done = true;
    this.cut();
  }
}

/** What the events of the server do. */
const EVENTS = {
  "input_audio_buffer.speech_started": (talk) => talk.audible.length && talk.cut(),
  "dsm_mlx.partial": (talk, { item_id: id, text }) => talk.dialogue.partial(id, text),
  "conversation.item.input_audio_transcription.delta": (talk, { item_id: id, delta }) =>
    talk.dialogue.append(id, "user", delta),
  "conversation.item.input_audio_transcription.completed": (talk, { item_id: id, transcript }) =>
    talk.dialogue.show(id, "user", transcript),
  "conversation.item.deleted": (talk, { item_id: id }) => talk.dialogue.takeBack(id),
  "response.created": (talk, { response }) => (talk.response = response.id),
  "response.output_item.added": (talk, { response_id: response, item }) =>
    talk.begin(response, item.id),
  "response.output_audio.delta": (talk, { item_id: id, delta }) =>
    talk.answers.has(id) && talk.sound(talk.answers.get(id), samples(delta)),
  "response.output_audio_transcript.delta": (talk, { item_id: id, delta }) =>
    talk.answers.has(id) && (talk.answers.get(id).text += delta),
  "response.done": (talk, { response }) => talk.end(response),
  "dsm_mlx.said": (talk, { response_id: id, text }) => talk.dialogue.append(id, "assistant", text),
  "dsm_mlx.latency": (talk, event) => talk.dialogue.latency(event.response_id, event),
  error: (talk, { error }) => error.event_id !== LATE && talk.onError(`The server says: ${error.message}.`),
};

function milliseconds(seconds) {
  return Math.round(1000 * seconds);
}
