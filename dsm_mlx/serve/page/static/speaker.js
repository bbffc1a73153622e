// A text that is said: it sounds while it is made.

import { Player, RATE } from "./player.js";

const AHEAD = 0.15; // seconds

export class Speaker {
  /** headers: what shows the key to the server. */
  constructor(headers) {
    this.headers = headers;
    this.stopping = new AbortController();
    this.pieces = []; // Int16Arrays of all that was made
  }

  /** Say it; resolves when all has sounded, or when it was stopped. onSound: at the first piece. */
  async say(text, voice, onSound) {
    this.player = new Player(AHEAD);
    try {
      await this.player.resume();
      const response = await fetch("/v1/audio/speech", {
        method: "POST",
        headers: { "Content-Type": "application/json", ...this.headers },
        body: JSON.stringify({ model: "tts-1", input: text, voice: voice || undefined, response_format: "pcm" }),
        signal: this.stopping.signal,
      });
      if (!response.ok) throw new Error((await response.json()).error.message);
      await this.play(response.body.getReader(), onSound);
      await this.player.drained();
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      await this.player.close();
    }
  }

  async play(reader, onSound) {
    let odd = new Uint8Array(0);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const bytes = new Uint8Array(odd.length + value.length);
      bytes.set(odd);
      bytes.set(value, odd.length);
      const whole = bytes.length - (bytes.length % 2);
      odd = bytes.slice(whole);
      const piece = new Int16Array(bytes.slice(0, whole).buffer);
      if (!piece.length) continue;
      if (!this.pieces.length) onSound();
      this.pieces.push(piece);
      this.player.write(piece);
    }
  }

  stop() {
    this.stopping.abort();
    this.player.stop();
  }

  get seconds() {
    return this.pieces.reduce((sum, piece) => sum + piece.length, 0) / RATE;
  }

  /** All that was said, as a WAV file. */
  wav() {
    const size = this.pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    const head = new DataView(new ArrayBuffer(44));
    const ascii = (at, text) => [...text].forEach((sign, i) => head.setUint8(at + i, sign.charCodeAt(0)));
    ascii(0, "RIFF");
    head.setUint32(4, 36 + size, true);
    ascii(8, "WAVEfmt ");
    [16, 1 | (1 << 16), RATE, 2 * RATE, 2 | (16 << 16)].forEach((value, i) => head.setUint32(16 + 4 * i, value, true));
    ascii(36, "data");
    head.setUint32(40, size, true);
    return new Blob([head.buffer, ...this.pieces], { type: "audio/wav" });
  }
}
