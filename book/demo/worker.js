/* The network at work, away from the page: onnxruntime-web in WebAssembly, one thread. The page sends
       {load: {runtime, network}}                                      once, and gets {ready: true}
       {recover: {id, planes, width, height, percent, measurements}}   planes of 0 to 255, one gray or three of colour
   and gets, each with the id: {start} with the linear estimate, {part} of the work done, and {stage} K times with the
   image so far. A newer picture ends the older one's work. This file follows measure.js and
   operators.js in one script. */
"use strict";

const SEEN = 6; // pixels around one that a stage's six convolutions see
const TILE = 264; // a tile's side; its time is how long the page waits before it can stop
const STRIP = 256; // blocks that one product with Phi takes

let ort, run, phi, linear, newest;

/** Undo base64 and gzip, without a request: the page forbids itself any connection. */
async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Start the runtime, read the graphs, draw the matrix. `run` then maps a graph's inputs to its outputs. */
async function load({ runtime, network }) {
  const address = URL.createObjectURL(new Blob([runtime.module], { type: "text/javascript" }));
  ort = await import(address);
  URL.revokeObjectURL(address);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await unpack(runtime.wasm);
  const sessions = {};
  for (const [name, packed] of Object.entries(network.graphs)) {
    sessions[name] = await ort.InferenceSession.create(await unpack(packed));
  }
  run = (name, inputs) => sessions[name].run(inputs);
  const [deviation, correlation] = [await unpack(network.deviation), await unpack(network.correlation)];
  const rows = Math.max(...network.measurements);
  const matrix = samplingMatrix(network.generator, rows);
  phi = Float32Array.from(matrix);
  linear = new LinearEstimate(matrix, {
    deviation: new Float32Array(deviation.buffer), correlation: new Int16Array(correlation.buffer),
  });
}

const tensor = (values, shape) => new ort.Tensor("float32", values, shape);

/** One plane's measurements and what follows from them; lines of blocks at a time, blocks know nothing of each other. */
class Plane {
  constructor(bytes, job) {
    Object.assign(this, { job, width: job.across * BLOCK, height: job.down * BLOCK });
    this.image = new Float32Array(this.width * this.height); // zeros at the right and bottom, to whole blocks
    for (let row = 0; row < job.height; row++) {
      for (let column = 0; column < job.width; column++) {
        this.image[row * this.width + column] = bytes[row * job.width + column] / 255;
      }
    }
  }

  /** The strips of whole blocks, as [first row, rows of pixels]. */
  *strips() {
    const lines = Math.max(1, Math.floor(STRIP / this.job.across));
    for (let line = 0; line < this.job.down; line += lines) {
      yield [line * BLOCK, Math.min(lines, this.job.down - line) * BLOCK];
    }
  }

  strip(values, top, rows) {
    return tensor(values.slice(top * this.width, (top + rows) * this.width), [1, 1, rows, this.width]);
  }

  /** Measure; keep the back-projection x0 = Phi^T y and the linear estimate, forget the image. */
  async measure(afterStrip) {
    this.x0 = new Float32Array(this.image.length);
    this.linear = new Float32Array(this.image.length);
    for (const [top, rows] of this.strips()) {
      const { y } = await run("sample", { x: this.strip(this.image, top, rows), phi: this.job.phi });
      const { x } = await run("adjoint", { y, phi: this.job.phi });
      this.x0.set(x.data, top * this.width);
      this.estimate(y.data, top, rows);
      await afterStrip();
    }
    this.x = this.x0;
    this.image = null;
  }

  /** Write the linear estimate of a strip from its measurements (1, m, blocks down, blocks across). */
  estimate(y, top, rows) {
    const { across, measurements } = this.job, blocks = (rows / BLOCK) * across;
    const own = new Float64Array(measurements);
    for (let block = 0; block < blocks; block++) {
      for (let m = 0; m < measurements; m++) own[m] = y[m * blocks + block];
      const pixels = linear.block(own);
      const corner = (top + Math.floor(block / across) * BLOCK) * this.width + (block % across) * BLOCK;
      for (let row = 0; row < BLOCK; row++) {
        for (let column = 0; column < BLOCK; column++) {
          this.linear[corner + row * this.width + column] = pixels[row * BLOCK + column];
        }
      }
    }
  }

  /** The gradient step of a stage, on the whole plane (Eq. 6). */
  async gradient(rho) {
    this.r = new Float32Array(this.x.length);
    for (const [top, rows] of this.strips()) {
      const { r } = await run("gradient", {
        x: this.strip(this.x, top, rows), x0: this.strip(this.x0, top, rows), phi: this.job.phi, rho: tensor([rho], []),
      });
      this.r.set(r.data, top * this.width);
    }
  }

  /** The proximal mapping of a stage (Eq. 7), tile by tile; each tile is given what its convolutions see around it. */
  async proximal(sigma, stage, afterTile) {
    this.x = new Float32Array(this.r.length);
    for (let top = 0; top < this.height; top += TILE) {
      for (let left = 0; left < this.width; left += TILE) {
        const bottom = Math.min(top + TILE, this.height), right = Math.min(left + TILE, this.width);
        await this.tile({ top, left, bottom, right }, sigma, stage);
        await afterTile((bottom - top) * (right - left));
      }
    }
  }

  async tile({ top, left, bottom, right }, sigma, stage) {
    const up = Math.max(0, top - SEEN), down = Math.min(this.height, bottom + SEEN);
    const west = Math.max(0, left - SEEN), wide = Math.min(this.width, right + SEEN) - west;
    const seen = new Float32Array((down - up) * wide);
    for (let row = up; row < down; row++) {
      seen.set(this.r.subarray(row * this.width + west, row * this.width + west + wide), (row - up) * wide);
    }
    const { x } = await run("proximal", {
      r: tensor(seen, [1, 1, down - up, wide]), sigma: tensor([sigma], []),
      stage: new ort.Tensor("int64", [BigInt(stage)], []),
    });
    for (let row = top; row < bottom; row++) {
      const start = (row - up) * wide + left - west;
      this.x.set(x.data.subarray(start, start + right - left), row * this.width + left);
    }
  }

  /** The pixels of the picture itself, without what was added to make whole blocks. */
  cropped(values) {
    const { width, height } = this.job, out = new Float32Array(width * height);
    for (let row = 0; row < height; row++) {
      out.set(values.subarray(row * this.width, row * this.width + width), row * width);
    }
    return out;
  }
}

/** Thrown through the work on a picture that is no longer wanted. */
class Superseded extends Error {}

/** Let messages in, and go on only if this picture is still wanted. */
async function pause(id) {
  await new Promise((resume) => setTimeout(resume));
  if (id !== newest) throw new Superseded();
}

/** Measure a picture and recover it, stage by stage. */
async function recover(job) {
  const { id, percent, measurements } = job;
  job.across = Math.ceil(job.width / BLOCK);
  job.down = Math.ceil(job.height / BLOCK);
  job.phi = tensor(phi.subarray(0, measurements * PIXELS), [measurements, PIXELS, 1, 1]);
  const truth = reference(job.planes), planes = job.planes.map((bytes) => new Plane(bytes, job));
  const send = (kind, name, more) => {
    const images = planes.map((plane) => plane.cropped(plane[name]));
    postMessage({ id, [kind]: { images, psnr: psnr(images, truth), ...more } }, images.map((image) => image.buffer));
  };
  for (const plane of planes) await plane.measure(() => pause(id));
  send("start", "linear", { blocks: job.across * job.down });
  const { rho, sigma } = await run("condition", { ratio: tensor([percent / 100], [1, 1]) });
  const stages = rho.data.length, all = stages * planes.length * planes[0].x0.length;
  let done = 0;
  send("stage", "x0", { number: 0, of: stages });
  for (let k = 0; k < stages; k++) {
    for (const plane of planes) {
      await plane.gradient(rho.data[k]);
      await plane.proximal(sigma.data[k], k, async (pixels) => {
        await pause(id);
        postMessage({ id, part: (done += pixels) / all });
      });
    }
    send("stage", "x", { number: k + 1, of: stages });
  }
}

onmessage = async ({ data }) => {
  try {
    if (data.load) {
      await load(data.load);
      postMessage({ ready: true });
    } else if (data.stop) {
      newest = null;
    } else {
      newest = data.recover.id;
      await recover(data.recover);
    }
  } catch (error) {
    if (!(error instanceof Superseded)) postMessage({ id: data.recover?.id, error: String(error?.message ?? error) });
  }
};
