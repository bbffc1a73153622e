// From a microphone's rate to the model's, block by block: a sinc that a Blackman window ends.

const ZEROS = 16; // zero crossings to each side

export class Resampler {
  /** Both in samples a second, and whole. */
  constructor(from, to) {
    const shared = divisor(from, to);
    [this.up, this.down] = [to / shared, from / shared];
    const cutoff = Math.min(1, to / from) * 0.95;
    const half = Math.ceil(ZEROS / cutoff);
    // What comes out lies at so many places between two samples, and no others.
    this.kernels = Array.from({ length: this.up }, (_, phase) =>
      Float32Array.from({ length: 2 * half }, (_, i) => weight(i - half + 1 - phase / this.up, cutoff, half)),
    );
    this.phase = 0;
    this.past = new Float32Array(half - 1); // silence before the beginning
  }

  /** Float32Array in, Float32Array out, some samples later. */
  push(block) {
    if (this.up === this.down) return block;
    const kept = joined(this.past, block);
    const out = [];
    let at = 0;
    while (at + this.kernels[0].length <= kept.length) {
      const kernel = this.kernels[this.phase];
      let sum = 0;
      for (let i = 0; i < kernel.length; i++) sum += kept[at + i] * kernel[i];
      out.push(sum);
      this.phase += this.down;
      at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    this.past = kept.slice(at);
    return Float32Array.from(out);
  }
}

/** Two Float32Arrays, one after the other. */
export function joined(first, second) {
  const all = new Float32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

function weight(distance, cutoff, half) {
  const x = Math.PI * cutoff * distance;
  const sinc = Math.abs(x) < 1e-9 ? 1 : Math.sin(x) / x;
  const phase = (Math.PI * distance) / half;
  return cutoff * sinc * (0.42 + 0.5 * Math.cos(phase) + 0.08 * Math.cos(2 * phase));
}
