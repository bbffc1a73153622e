// From a microphone's rate to the model's, block by block: a sinc that a Blackman window ends.

const ZEROS = 16; // zero crossings to each side

export class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.cutoff = Math.min(1, to / from) * 0.95;
    this.half = Math.ceil(ZEROS / this.cutoff);
    this.past = new Float32Array(2 * this.half); // silence before the beginning
    this.at = this.half; // of the next sample that goes out, within what is kept
  }

  /** Float32Array in, Float32Array out, some samples later. */
  push(block) {
    if (this.step === 1) return block;
    const kept = new Float32Array(this.past.length + block.length);
    kept.set(this.past);
    kept.set(block, this.past.length);
    const out = [];
    while (this.at + this.half < kept.length) {
      const first = Math.ceil(this.at - this.half);
      const last = Math.floor(this.at + this.half);
      let sum = 0;
      for (let i = first; i <= last; i++) sum += kept[i] * this.weight(i - this.at);
      out.push(sum);
      this.at += this.step;
    }
    const gone = Math.max(0, Math.floor(this.at) - this.half);
    this.past = kept.slice(gone);
    this.at -= gone;
    return Float32Array.from(out);
  }

  weight(distance) {
    const x = Math.PI * this.cutoff * distance;
    const sinc = Math.abs(x) < 1e-9 ? 1 : Math.sin(x) / x;
    const phase = (Math.PI * distance) / this.half;
    return this.cutoff * sinc * (0.42 + 0.5 * Math.cos(phase) + 0.08 * Math.cos(2 * phase));
  }
}
