// Sound that is played as it comes, and that can be stopped within some milliseconds.

export const RATE = 24000;
const FADE = 0.005; // seconds, so that an end does not click

export class Player {
  /** ahead: seconds before the first sound, and after a gap, so that it does not stutter. */
  constructor(ahead) {
    this.ahead = ahead;
    this.context = new AudioContext({ sampleRate: RATE }); // its own rate: pieces join without a seam
    // A call on a telephone, for one, interrupts it.
    this.context.onstatechange = () => this.context.state !== "closed" && this.resume();
    this.volume = new GainNode(this.context);
    this.volume.connect(this.context.destination);
    this.due = 0; // when the next piece is, by the clock of the context
    this.sounding = new Map(); // pieces that have not ended: their sources
    this.begin();
  }

  /** What is written from now on; what was written before can be faded by itself. */
  begin() {
    this.fading = new GainNode(this.context);
    this.fading.connect(this.volume);
  }

  /** A browser plays nothing before somebody has pressed something. */
  async resume() {
    await this.context.resume().catch(() => {});
  }

  /** pcm: an Int16Array. Returns the piece, for `heard`. */
  write(pcm) {
    if (this.due < this.context.currentTime) this.due = this.context.currentTime + this.ahead;
    const buffer = this.context.createBuffer(1, pcm.length, RATE);
    buffer.copyToChannel(Float32Array.from(pcm, (sample) => sample / 32768), 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    const piece = { start: this.due, seconds: buffer.duration };
    this.sounding.set(piece, source);
    source.onended = () => this.ended(piece);
    source.connect(this.fading);
    source.start(piece.start);
    this.due += buffer.duration;
    return piece;
  }

  ended(piece) {
    this.sounding.delete(piece);
    if (!this.sounding.size) this.onDrained?.();
  }

  /** Resolves when all has sounded, or was stopped. */
  async drained() {
    if (this.sounding.size) await new Promise((resolve) => (this.onDrained = resolve));
  }

  /** How many seconds of these pieces have come out of the loudspeaker, or are about to. */
  heard(pieces) {
    const waits = this.sounding.size ? this.context.outputLatency || 0 : 0;
    return pieces.reduce((sum, piece) => sum + sounded(piece, this.context.currentTime - waits), 0);
  }

  /** What has not been heard is dropped; pieces are as long as they were heard. */
  stop() {
    const now = this.context.currentTime;
    this.fading.gain.setTargetAtTime(0, now, FADE / 3);
    for (const [piece, source] of this.sounding) {
      piece.seconds = sounded(piece, now);
      source.onended = null;
      source.stop(now + FADE);
    }
    this.sounding.clear();
    this.due = 0;
    this.begin();
    this.onDrained?.();
  }

  /** It goes on, and nothing of it is heard. */
  set silent(on) {
    this.volume.gain.value = on ? 0 : 1;
  }

  async close() {
    if (this.context.state !== "closed") await this.context.close();
  }
}

function sounded({ start, seconds }, now) {
  return Math.min(seconds, Math.max(0, now - start));
}
