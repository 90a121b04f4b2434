/* The book's operators, as chapter 01 derives them and istapp has them in Python: the seeded sampling matrix and the
   best linear estimate. They run in the worker, so that the page stays awake. */
"use strict";

const BLOCK = 33, PIXELS = BLOCK * BLOCK; // an image is cut into blocks of 33 x 33

/* ---- The sampling matrix: Gaussian numbers as NumPy draws them, made orthonormal ---- */

/** NumPy's generator PCG64 from its state; a number of 128 bits is eight limbs of 16, the lowest first. */
class PCG64 {
  constructor(state, increment) {
    [this.state, this.increment] = [state, increment].map(PCG64.limbs);
    this.next = new Float64Array(8);
  }

  static limbs(decimal) {
    const value = BigInt(decimal);
    return Float64Array.from({ length: 8 }, (_, limb) => Number((value >> BigInt(16 * limb)) & 0xffffn));
  }

  /** Draw 64 bits into `high` and `low`: one linear congruential step, then xor of the halves and a rotation. */
  draw() {
    let carry = 0;
    for (let i = 0; i < 8; i++) {
      let sum = carry + this.increment[i];
      for (let j = 0; j <= i; j++) sum += this.state[j] * PCG64.multiplier[i - j];
      this.next[i] = sum % 65536;
      carry = Math.floor(sum / 65536);
    }
    [this.state, this.next] = [this.next, this.state];
    const s = this.state;
    let low = (s[0] ^ s[4]) | ((s[1] ^ s[5]) << 16), high = (s[2] ^ s[6]) | ((s[3] ^ s[7]) << 16);
    const turn = s[7] >>> 10, by = turn & 31;
    if (turn & 32) [low, high] = [high, low];
    if (by) [low, high] = [(low >>> by) | (high << (32 - by)), (high >>> by) | (low << (32 - by))];
    this.low = low >>> 0;
    this.high = high >>> 0;
  }

  /** A uniform number in [0, 1) of 53 bits. */
  uniform() {
    this.draw();
    return (this.high * 2 ** 21 + (this.low >>> 11)) / 2 ** 53;
  }
}
PCG64.multiplier = PCG64.limbs("0x2360ed051fc65da44385df649fccf645");

/** The ziggurat of 256 layers of equal area under exp(-x^2/2); R is where its tail begins. */
const R = 3.6541528853610088;
const ziggurat = (() => {
  const bell = (x) => Math.exp(-0.5 * x * x);
  const area = 0.00492867323397465524494;
  const edge = new Float64Array(256), height = new Float64Array(256);
  edge[255] = R;
  for (let i = 254; i > 0; i--) edge[i] = Math.sqrt(-2 * Math.log(area / edge[i + 1] + bell(edge[i + 1])));
  for (let i = 0; i < 256; i++) height[i] = i ? bell(edge[i]) : 1;
  const width = edge.slice();
  width[0] = area / bell(R); // the lowest layer, tail included, as a rectangle
  const inside = width.map((w, i) => Math.floor(((i ? edge[i - 1] : R) / w) * 2 ** 52));
  return { width, height, inside };
})();

/** A standard normal number, bit by bit as numpy.random.Generator.standard_normal draws it. */
function normal(random) {
  const { width, height, inside } = ziggurat;
  for (;;) {
    random.draw();
    const layer = random.low & 0xff, negative = (random.low >>> 8) & 1, other = (random.low >>> 17) & 1;
    const part = (random.high & 0x1fffffff) * 2 ** 23 + (random.low >>> 9);
    const x = ((negative ? -1 : 1) * part * width[layer]) / 2 ** 52;
    if (part < inside[layer]) return x;
    if (layer === 0) {
      for (;;) {
        const beyond = -Math.log1p(-random.uniform()) / R, y = -Math.log1p(-random.uniform());
        if (y + y > beyond * beyond) return other ? -(R + beyond) : R + beyond;
      }
    }
    if ((height[layer - 1] - height[layer]) * random.uniform() + height[layer] < Math.exp(-0.5 * x * x)) return x;
  }
}

/** The first `rows` rows of Phi, (rows, 1089) Float64Array: the columns of a Gaussian matrix, made orthonormal. */
function samplingMatrix(generator, rows) {
  const random = new PCG64(generator.state, generator.increment);
  const phi = new Float64Array(rows * PIXELS);
  for (let i = 0; i < PIXELS; i++) {
    for (let j = 0; j < PIXELS; j++) {
      const drawn = normal(random); // those of later columns are drawn too: that is the order of the numbers
      if (j < rows) phi[j * PIXELS + i] = drawn;
    }
  }
  for (let j = 0; j < rows; j++) { // modified Gram and Schmidt; Gaussian columns are far from dependent
    const row = phi.subarray(j * PIXELS, (j + 1) * PIXELS);
    for (let i = 0; i < j; i++) {
      const earlier = phi.subarray(i * PIXELS, (i + 1) * PIXELS);
      const along = dot(row, earlier);
      for (let p = 0; p < PIXELS; p++) row[p] -= along * earlier[p];
    }
    const length = Math.sqrt(dot(row, row));
    for (let p = 0; p < PIXELS; p++) row[p] /= length;
  }
  return phi;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/* ---- The best linear estimate, Q = C Phi^T (Phi C Phi^T)^-1 ---- */

/** The orthonormal cosines of a block's side, (33, 33): row f is the wave of frequency f. */
const COSINES = (() => {
  const d = new Float64Array(PIXELS);
  for (let f = 0; f < BLOCK; f++) {
    const scale = Math.sqrt((f ? 2 : 1) / BLOCK);
    for (let n = 0; n < BLOCK; n++) d[f * BLOCK + n] = scale * Math.cos((Math.PI * (n + 0.5) * f) / BLOCK);
  }
  return d;
})();

/** The two-dimensional cosine transform of one block, or its inverse. */
function cosines(block, inverse) {
  const between = new Float64Array(PIXELS), out = new Float64Array(PIXELS);
  const at = inverse ? (f, n) => COSINES[n * BLOCK + f] : (f, n) => COSINES[f * BLOCK + n];
  for (let f = 0; f < BLOCK; f++) {
    for (let n = 0; n < BLOCK; n++) {
      const c = at(f, n);
      for (let column = 0; column < BLOCK; column++) between[f * BLOCK + column] += c * block[n * BLOCK + column];
    }
  }
  for (let f = 0; f < BLOCK; f++) {
    for (let n = 0; n < BLOCK; n++) {
      const c = at(f, n);
      for (let row = 0; row < BLOCK; row++) out[row * BLOCK + f] += c * between[row * BLOCK + n];
    }
  }
  return out;
}

/** The linear estimate at every ratio: matrices are nested, and so are the factors of Phi C Phi^T.

    C, the second moment of the training blocks, was averaged over flips. So in the cosine basis waves of unlike
    parity are orthogonal in the mean, and C falls apart into four small matrices; `packed` has them as correlations,
    upper triangle by upper triangle, beside the `deviation` of every wave. */
class LinearEstimate {
  constructor(phi, packed) {
    const rows = phi.length / PIXELS;
    this.rows = rows;
    this.covered = new Float64Array(rows * PIXELS); // Phi C, in the cosine basis
    this.factor = new Float64Array(rows * rows); // lower triangle L with L L^T = Phi C Phi^T
    const waves = new Float64Array(rows * PIXELS);
    for (let m = 0; m < rows; m++) waves.set(cosines(phi.subarray(m * PIXELS, (m + 1) * PIXELS)), m * PIXELS);
    let read = 0;
    for (const [down, across] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      const members = [];
      for (let u = down; u < BLOCK; u += 2) for (let v = across; v < BLOCK; v += 2) members.push(u * BLOCK + v);
      read = this.cover(waves, members, packed, read);
    }
    this.factorise(waves);
  }

  /** Add one class of waves to Phi C; returns how far `packed` was read. */
  cover(waves, members, packed, read) {
    const n = members.length, c = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++) {
        const value = (packed.correlation[read++] / 32767) * packed.deviation[members[i]] * packed.deviation[members[j]];
        c[i * n + j] = c[j * n + i] = value;
      }
    }
    const out = new Float64Array(n);
    for (let m = 0; m < this.rows; m++) {
      out.fill(0);
      for (let i = 0; i < n; i++) {
        const weight = waves[m * PIXELS + members[i]];
        for (let j = 0; j < n; j++) out[j] += weight * c[i * n + j];
      }
      for (let j = 0; j < n; j++) this.covered[m * PIXELS + members[j]] = out[j];
    }
    return read;
  }

  /** Cholesky's factor of Phi C Phi^T, row by row: its first m rows are the factor for m measurements. */
  factorise(waves) {
    const { rows, factor } = this;
    for (let i = 0; i < rows; i++) {
      const covered = this.covered.subarray(i * PIXELS, (i + 1) * PIXELS), here = factor.subarray(i * rows, i * rows + i + 1);
      for (let j = 0; j <= i; j++) {
        const product = dot(covered, waves.subarray(j * PIXELS, (j + 1) * PIXELS));
        const there = factor.subarray(j * rows, j * rows + j);
        let sum = product;
        for (let p = 0; p < j; p++) sum -= here[p] * there[p];
        here[j] = i === j ? Math.sqrt(sum) : sum / factor[j * rows + j];
      }
    }
  }

  /** One block's estimate from its m measurements, 1089 numbers. */
  block(y) {
    const { rows, factor } = this, m = y.length, z = Float64Array.from(y);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < i; j++) z[i] -= factor[i * rows + j] * z[j];
      z[i] /= factor[i * rows + i];
    }
    for (let i = m - 1; i >= 0; i--) {
      z[i] /= factor[i * rows + i];
      for (let j = 0; j < i; j++) z[j] -= factor[i * rows + j] * z[i];
    }
    const waves = new Float64Array(PIXELS);
    for (let i = 0; i < m; i++) {
      for (let p = 0; p < PIXELS; p++) waves[p] += z[i] * this.covered[i * PIXELS + p];
    }
    return cosines(waves, true);
  }
}
