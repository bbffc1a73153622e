// A text that is said: it sounds while it is made.

const RATE = 24000;
const AHEAD = 0.15; // seconds before the first sound, and after a gap, so that it does not stutter

export class Speaker {
  /** headers: what shows the key to the server. */
  constructor(headers) {
    this.headers = headers;
    this.stopping = new AbortController();
    this.pieces = []; // Int16Arrays of all that was made
  }

  /** Say it; resolves when all has sounded, or when it was stopped. onSound: at the first piece. */
  async say(text, voice, onSound) {
    this.context = new AudioContext();
    try {
      await this.context.resume();
      const response = await fetch("/v1/audio/speech", {
        method: "POST",
        headers: { "Content-Type": "application/json", ...this.headers },
        body: JSON.stringify({ model: "tts-1", input: text, voice: voice || undefined, response_format: "pcm" }),
        signal: this.stopping.signal,
      });
      if (!response.ok) throw new Error((await response.json()).error.message);
      await this.play(response.body.getReader(), onSound);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      await this.context.close();
    }
  }

  async play(reader, onSound) {
    let odd = new Uint8Array(0);
    let next = -1; // when the next piece is due, by the clock of the context
    let last = null;
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
      if (next < this.context.currentTime) next = this.context.currentTime + AHEAD;
      last = this.schedule(piece, next);
      next += piece.length / RATE;
    }
    if (last) {
      await new Promise((resolve) => {
        last.onended = resolve;
        this.stopping.signal.addEventListener("abort", resolve);
      });
    }
  }

  schedule(piece, when) {
    const buffer = this.context.createBuffer(1, piece.length, RATE);
    buffer.copyToChannel(Float32Array.from(piece, (sample) => sample / 32768), 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.start(when);
    return source;
  }

  stop() {
    this.stopping.abort();
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
