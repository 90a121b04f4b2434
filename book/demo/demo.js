/* The page "A network in your browser": choose a photograph, let the worker recover it from few numbers, show how.
   Nothing here sends anything: pictures are read from the reader's disk and drawn, and the page's policy forbids
   connections. What is large (runtime, network, photographs) lies in scripts of its own, which are added when they are
   asked for: from a file:// address a page may run scripts and may not fetch files. This file follows measure.js. */
"use strict";

const DETAIL = 132; // side of the detail, four blocks of 33 pixels
const LARGEST = 4e6; // pixels of a photograph; a larger one is shrunk
const KEPT = 6e7; // numbers of earlier stages that are kept to look at
const here = new URL(".", document.currentScript.src);
const the = (name) => document.getElementById(`demo-${name}`);
const box = document.getElementById("demo");
const loaded = (window.istappDemo = { photos: {} });

const state = {
  opened: null, // the file that was asked for last
  picture: null, // {name, width, height, pixels: red, green, blue, alpha, colour, remark}
  frame: { x: 0, y: 0 }, // the detail's corner, in pixels of the picture
  job: null, // what is being or was recovered: see recover()
  jobs: 0,
  speed: null, // pixels and stages a second, once known
};
loaded.state = state; // for the curious, and for the book's tests
let worker = null;

/* ---- Words to the reader ---- */

function note(words) {
  the("note").textContent = words;
}

/** Say what went wrong and what to do; an empty text takes the message away. */
function complain(words) {
  the("error").textContent = words;
  the("error").hidden = !words;
}

const number = (value) => value.toLocaleString("en-GB");
const decibels = (value) => (Number.isFinite(value) ? `${value.toFixed(2)} dB` : "exact");
const seconds = (value) => (value < 90 ? `${Math.max(1, Math.round(value))} s` : `${Math.round(value / 60)} min`);

/* ---- Loading ---- */

/** Run a script that lies beside this one. */
function script(name) {
  return new Promise((done, failed) => {
    const element = document.createElement("script");
    element.src = new URL(name, here).href;
    element.onload = done;
    element.onerror = () => failed(new Error(`the file demo/${name} is missing beside the pages`));
    document.head.append(element);
  });
}

async function loadNetwork() {
  the("load").disabled = true;
  complain("");
  try {
    if (typeof DecompressionStream === "undefined" || typeof WebAssembly === "undefined") {
      throw new Error("this browser is too old for it; one from 2023 or later will do");
    }
    note("Loading ...");
    await Promise.all([script("runtime.js"), script("network.js")]);
    note("Starting the network and drawing the matrix ...");
    await startWorker();
  } catch (error) {
    note("");
    complain(`The network did not start: ${error.message}.`);
    the("load").disabled = false;
    return;
  }
  document.querySelector(".demo-open").hidden = true;
  the("bench").hidden = false;
  the("stage").max = loaded.network.stages;
  note("The network is ready.");
  await choosePhoto();
  the("photo").focus();
}

/** Start the worker, from a text, since a page on disk may not name a file; resolves once it can work. */
function startWorker() {
  const address = URL.createObjectURL(new Blob([loaded.network.worker], { type: "text/javascript" }));
  worker = new Worker(address);
  return new Promise((ready, failed) => {
    worker.onerror = (event) => failed(new Error(event.message || "the browser allows no worker here"));
    worker.onmessage = ({ data }) => {
      if (data.error) return failed(new Error(data.error));
      worker.onmessage = ({ data: answer }) => heard(answer);
      worker.onerror = (event) => heard({ id: state.job?.id, error: event.message || "out of memory" });
      ready();
    };
    const { worker: _, ...network } = loaded.network;
    worker.postMessage({ load: { runtime: loaded.runtime, network } });
  });
}

/* ---- Pictures ---- */

/** Open one of the book's photographs. */
async function choosePhoto() {
  const name = the("photo").value;
  if (!name) return;
  complain("");
  try {
    if (!loaded.photos[name]) await script(`photos/${name}.js`);
    if (name !== the("photo").value) return; // the reader has chosen another one meanwhile
    const bytes = Uint8Array.from(atob(loaded.photos[name]), (letter) => letter.charCodeAt(0));
    await open(new Blob([bytes], { type: "image/png" }), name);
  } catch (error) {
    complain(`The photograph did not open: ${error.message}.`);
  }
}

/** Open a file of the reader's; whatever it is, the last good picture stays until there is a better one. */
async function chooseFile(files) {
  const [file] = files;
  if (!file) return;
  complain("");
  const more = files.length > 1 ? `Of ${files.length} files, this is the first. ` : "";
  try {
    await open(file, file.name.replace(/\.[^.]*$/, "") || "picture", more);
    the("photo").value = "";
  } catch {
    complain(
      `“${file.name}” is not a picture that this browser can open. ` +
        "Choose a PNG, JPEG or WebP file, or one of the book's photographs; what was here before is still here.",
    );
  }
}

/** Make a file the picture to work on.

    Throws where the browser cannot decode it. */
async function open(file, name, remark = "") {
  const turn = (state.opened = file);
  const [bitmap, count] = await Promise.all([createImageBitmap(file), frames(file)]);
  if (turn !== state.opened) return; // a newer one was chosen while this one was decoded
  const whole = bitmap.width * bitmap.height, scale = Math.min(1, Math.sqrt(LARGEST / whole));
  const width = Math.max(1, Math.floor(bitmap.width * scale)), height = Math.max(1, Math.floor(bitmap.height * scale));
  const canvas = new OffscreenCanvas(width, height), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.fillStyle = "#fff"; // what is transparent stands on white, as everywhere in the book
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const pixels = pen.getImageData(0, 0, width, height).data;
  if (scale < 1) {
    remark += `${(whole / 1e6).toFixed(1)} megapixels are more than this page takes; it was shrunk to ${width} × ${height}. `;
  }
  if (count > 1) remark += "It is animated; this is its first picture. ";
  state.picture = { name, width, height, pixels, colour: hasColour(pixels), remark };
  note(remark);
  showPicture();
  if (detailOnly()) the("detail").checked = true;
  changed();
}

function hasColour(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i] !== pixels[i + 1] || pixels[i] !== pixels[i + 2]) return true;
  }
  return false;
}

/** How many pictures a file holds; 1 where the browser does not tell. */
async function frames(file) {
  if (typeof ImageDecoder === "undefined" || !file.type) return 1;
  try {
    const decoder = new ImageDecoder({ data: await file.arrayBuffer(), type: file.type });
    await decoder.tracks.ready;
    const count = decoder.tracks.selectedTrack.frameCount;
    decoder.close();
    return count;
  } catch {
    return 1;
  }
}

/** The rectangle to recover: the detail, or everything. */
function area() {
  const { width, height } = state.picture;
  if (the("whole").checked) return { x: 0, y: 0, width, height };
  return { ...state.frame, width: Math.min(DETAIL, width), height: Math.min(DETAIL, height) };
}

const detailOnly = () => state.picture.width <= DETAIL && state.picture.height <= DETAIL;
const inColour = () => state.picture.colour && the("colour").checked;

/** The pixels of a rectangle as bytes: its luma, or red, green and blue. */
function planesOf({ x, y, width, height }) {
  const { pixels, width: line } = state.picture, colour = inColour();
  const planes = Array.from({ length: colour ? 3 : 1 }, () => new Uint8Array(width * height));
  for (let row = 0, to = 0; row < height; row++) {
    for (let column = 0; column < width; column++, to++) {
      const from = 4 * ((y + row) * line + x + column);
      if (colour) planes.forEach((plane, c) => (plane[to] = pixels[from + c]));
      else planes[0][to] = luma(pixels[from], pixels[from + 1], pixels[from + 2]);
    }
  }
  return planes;
}

/* ---- The photograph and the frame on it ---- */

function showPicture() {
  const { name, width, height, pixels } = state.picture, canvas = the("picture");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  canvas.style.width = `${Math.min(320, width, (260 * width) / height)}px`;
  canvas.setAttribute("aria-label", `The photograph: ${name}, ${width} by ${height} pixels`);
  the("colour").disabled = !state.picture.colour;
  the("whole").disabled = detailOnly();
  const at = the("photo").value === name && the("photo").selectedOptions[0].dataset.at?.split(" ");
  if (at) moveFrame(...at.map(Number));
  else moveFrame((width - DETAIL) / 2, (height - DETAIL) / 2);
}

function moveFrame(x, y) {
  const { width, height } = state.picture, frame = the("frame");
  const within = (at, side) => Math.round(Math.min(Math.max(0, at), Math.max(0, side - DETAIL)));
  state.frame = { x: within(x, width), y: within(y, height) };
  const percent = (part, all) => `${(100 * part) / all}%`;
  frame.style.left = percent(state.frame.x, width);
  frame.style.top = percent(state.frame.y, height);
  frame.style.width = percent(Math.min(DETAIL, width), width);
  frame.style.height = percent(Math.min(DETAIL, height), height);
  frame.setAttribute(
    "aria-label",
    `Frame of the detail: ${state.frame.x} pixels from the left, ${state.frame.y} from the top; arrow keys move it`,
  );
}

function frameByKey(event) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  moveFrame(state.frame.x + BLOCK_STEP * step[0], state.frame.y + BLOCK_STEP * step[1]);
  the("detail").checked = true;
  changed();
}
const BLOCK_STEP = 33;

function frameByPointer(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const canvas = the("picture").getBoundingClientRect(), scale = state.picture.width / canvas.width;
  moveFrame((event.clientX - canvas.left) * scale - DETAIL / 2, (event.clientY - canvas.top) * scale - DETAIL / 2);
  the("detail").checked = true;
  changed();
}

/* ---- Asking the worker ---- */

/** Something was moved: a detail is recovered at once, a whole photograph when the reader says so. */
function changed() {
  const percent = Number(the("ratio").value), count = loaded.network.measurements[percent - 1];
  const [least, most] = loaded.network.trained;
  const aside = percent < least || percent > most ? `; the network learned from ${least} to ${most} %` : "";
  the("measured").textContent = `${percent} %: ${count} numbers for the 1089 pixels of a block${aside}`;
  the("ratio").setAttribute("aria-valuetext", `${percent} percent, ${count} numbers a block`);
  showEstimate();
  clearTimeout(changed.timer);
  if (the("detail").checked) changed.timer = setTimeout(recover, 150);
  else stop();
}

/** How long the whole photograph will take, from how long the last work took. */
function showEstimate() {
  const { width, height } = state.picture, planes = inColour() ? 3 : 1;
  const time = state.speed && (width * height * planes * loaded.network.stages) / state.speed;
  the("estimate").textContent = time ? `(${width} × ${height}, about ${seconds(time)})` : `(${width} × ${height})`;
}

function recover() {
  const where = area(), planes = planesOf(where), percent = Number(the("ratio").value);
  const measurements = loaded.network.measurements[percent - 1];
  complain("");
  state.job = {
    id: ++state.jobs, name: state.picture.name, percent, ...where, planes, from: performance.now(),
    images: { original: planes.map((plane) => Float32Array.from(plane, (value) => value / 255)) },
    psnr: {}, bytes: 0, jpeg: null, last: -1, follow: true,
  };
  const { id } = state.job;
  worker.postMessage({ recover: { id, planes, width: where.width, height: where.height, percent, measurements } });
  note(`${state.picture.remark}Recovering ${state.job.name} at ${percent} % ...`);
  the("part").value = 0;
  the("left").textContent = "";
  the("stop").hidden = false;
}

function stop() {
  worker?.postMessage({ stop: true });
  if (state.job && state.job.last < loaded.network.stages) note("Stopped.");
  the("stop").hidden = true;
  the("part").value = 0;
  the("left").textContent = "";
}

/** A word from the worker; what concerns an older picture is too late. */
function heard({ id, start, stage, part, error }) {
  const job = state.job;
  if (!job || id !== job.id) return;
  if (error) return failed(error);
  if (start) {
    const measurements = loaded.network.measurements[job.percent - 1];
    job.bytes = start.blocks * measurements * job.planes.length; // a byte for each number, as for each pixel
    keep("linear", start);
    showJpeg(job);
  }
  if (stage) {
    job.last = stage.number;
    keep(stage.number, stage);
    showStage();
    if (stage.number === stage.of) finish();
  }
  if (part) {
    the("part").value = part;
    const gone = (performance.now() - job.from) / 1000;
    if (gone > 2) the("left").textContent = `about ${seconds((gone / part) * (1 - part))} left`;
  }
}

function keep(name, { images, psnr: value }) {
  const job = state.job, heavy = images.length * images[0].length * loaded.network.stages > KEPT;
  if (heavy && name > 1) delete job.images[name - 1];
  job.images[name] = images;
  job.psnr[name] = value;
}

function finish() {
  const job = state.job, time = (performance.now() - job.from) / 1000;
  state.speed = (job.width * job.height * job.planes.length * job.last) / time;
  the("stop").hidden = true;
  the("left").textContent = "";
  note(
    `${state.picture.remark}${job.name} at ${job.percent} %: ${decibels(job.psnr[job.last])} after ${job.last} stages and ${time.toFixed(1)} s; ` +
      `the linear estimate has ${decibels(job.psnr.linear)}.`,
  );
  showEstimate();
}

async function failed(why) {
  the("stop").hidden = true;
  complain(
    `The browser gave up (${why}). The network starts anew; choose the detail or a smaller picture if it happens again.`,
  );
  state.job = null;
  worker.terminate();
  try {
    await startWorker();
  } catch (error) {
    complain(`The network did not start again: ${error.message}. Reload the page.`);
  }
}

/* ---- JPEG in as many bytes ---- */

/** Find the best JPEG of the picture that is no larger than the measurements, by bisection of its quality. */
async function showJpeg(job) {
  const canvas = new OffscreenCanvas(job.width, job.height), pen = canvas.getContext("2d");
  pen.putImageData(drawing(job.images.original, job.width, job.height), 0, 0);
  let best = null, smallest = Infinity;
  for (let low = 0, high = 100; low <= high;) {
    const quality = (low + high) >> 1;
    const file = await canvas.convertToBlob({ type: "image/jpeg", quality: quality / 100 });
    smallest = Math.min(smallest, file.size);
    if (file.size <= job.bytes) {
      best = { file, quality };
      low = quality + 1;
    } else high = quality - 1;
    if (job !== state.job) return;
  }
  if (!best) {
    job.jpeg = { words: `needs at least ${number(smallest)}` };
  } else {
    pen.drawImage(await createImageBitmap(best.file), 0, 0);
    const shown = pen.getImageData(0, 0, job.width, job.height).data;
    job.images.jpeg = job.planes.map((plane, c) =>
      Float32Array.from(plane, (_, i) =>
        (job.planes.length > 1 ? shown[4 * i + c] : luma(shown[4 * i], shown[4 * i + 1], shown[4 * i + 2])) / 255));
    job.psnr.jpeg = psnr(job.images.jpeg, reference(job.planes));
    job.jpeg = { words: number(best.file.size), quality: best.quality };
  }
  if (job === state.job) showStage();
}

/* ---- Showing ---- */

/** Planes around [0, 1] as what a canvas draws. */
function drawing(planes, width, height) {
  const pixels = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let c = 0; c < 3; c++) {
    const plane = planes[planes.length > 1 ? c : 0];
    for (let i = 0; i < plane.length; i++) pixels[4 * i + c] = 255 * plane[i];
  }
  return new ImageData(pixels, width, height);
}

function draw(canvas, planes, words) {
  const { width, height } = state.job;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(drawing(planes, width, height), 0, 0);
  canvas.setAttribute("aria-label", words);
}

/** The stage that is looked at: the newest, until the reader moves the slider. */
function showStage() {
  const job = state.job;
  if (!job || job.last < 0) return;
  the("results").hidden = false;
  const slider = the("stage");
  if (job.follow) slider.value = job.last;
  const stage = Math.min(Number(slider.value), job.last), kept = job.images[stage] ? stage : job.last;
  the("number").textContent = `${kept} of ${loaded.network.stages}, ${decibels(job.psnr[kept])}`;
  slider.setAttribute("aria-valuetext", the("number").textContent);
  draw(the("after"), job.images[kept], `Right of the divider: ISTA-Net++ after stage ${kept}, ${decibels(job.psnr[kept])}`);
  the("shown").textContent = `Right: stage ${kept}, ${decibels(job.psnr[kept])}`;
  showOther();
  const view = the("view");
  view.classList.toggle("close", job.width <= DETAIL && job.height <= DETAIL);
  const wide = `${Math.max(Math.min(job.width, 1200), Math.min(4 * job.width, 528))}px`;
  for (const part of [view, ...document.querySelectorAll(".demo-wide")]) part.style.maxWidth = wide;
  showTable(kept);
  showChart(kept);
}

function showOther() {
  const job = state.job, choice = the("other"), picked = choice.selectedOptions[0];
  const planes = job.images[choice.value];
  const value = choice.value === "original" ? "" : `, ${decibels(job.psnr[choice.value])}`;
  if (planes) draw(the("before"), planes, `Left of the divider: ${picked.text}${value}`);
  else draw(the("before"), job.planes.map((plane) => new Float32Array(plane.length).fill(0.5)), `Left: ${picked.text}, not to be had`);
}

function showTable(stage) {
  const job = state.job, sent = number(job.bytes);
  const rows = [
    ["back-projection Φᵀy", job.psnr[0], sent],
    ["linear estimate", job.psnr.linear, sent],
    [`ISTA-Net++, stage ${stage}`, job.psnr[stage], sent],
    [job.jpeg?.quality === undefined ? "JPEG" : `JPEG, quality ${job.jpeg.quality}`, job.psnr.jpeg, job.jpeg?.words ?? "..."],
    ["the pixels themselves", Infinity, number(job.width * job.height * job.planes.length)],
  ];
  the("table").replaceChildren(
    ...rows.map(([name, value, bytes]) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      for (const text of [value === undefined ? "–" : decibels(value), bytes]) row.insertCell().textContent = text;
      return row;
    }),
  );
}

/** PSNR over the stages, with the two levels to beat. */
function showChart(stage) {
  const job = state.job, { stages } = loaded.network, chart = the("chart");
  const curve = Array.from({ length: job.last + 1 }, (_, k) => job.psnr[k]);
  const levels = [["linear", job.psnr.linear], ["JPEG", job.psnr.jpeg]].filter((level) => Number.isFinite(level[1]));
  const values = [...curve.filter(Number.isFinite), ...levels.map((level) => level[1])];
  const low = Math.floor(Math.min(...values) / 5) * 5, high = Math.ceil((Math.max(...values) + 0.1) / 5) * 5;
  const x = (k) => 30 + (k * 218) / stages, y = (value) => 172 - (160 * (Math.min(value, high) - low)) / (high - low);
  const parts = [];
  const add = (kind, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    parts.push(element);
  };
  for (const value of [low, high]) add("text", { x: 24, y: y(value) + 4, "text-anchor": "end" }, String(value));
  add("text", { x: 24, y: y(high) + 19, "text-anchor": "end" }, "dB");
  for (const k of [0, stages]) add("text", { x: x(k), y: 193, "text-anchor": "middle" }, String(k));
  add("text", { x: x(stages / 2), y: 193, "text-anchor": "middle" }, "stage");
  for (const [name, value] of levels) {
    add("line", { class: "level", x1: x(0), x2: x(stages), y1: y(value), y2: y(value) });
    add("text", { x: x(stages) + 8, y: y(value) + 4 }, `${name} ${value.toFixed(1)}`);
  }
  add("polyline", { class: "curve", points: curve.map((value, k) => `${x(k)},${y(value)}`).join(" ") });
  add("circle", { class: "here", cx: x(stage), cy: y(job.psnr[stage]), r: 5 });
  chart.replaceChildren(...parts);
  chart.setAttribute("aria-label", `PSNR after each stage, from 0: ${curve.map((value) => value.toFixed(1)).join(", ")} dB`);
}

function moveDivider() {
  the("view").style.setProperty("--at", `${the("at").value}%`);
  the("at").setAttribute("aria-valuetext", `${the("at").value} percent from the left`);
}

function dividerByPointer(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const view = the("view").getBoundingClientRect();
  the("at").value = (100 * (event.clientX - view.left)) / view.width;
  moveDivider();
}

/** Hand the reader the image right of the divider; the browser writes the file. */
function save() {
  const job = state.job;
  the("after").toBlob((file) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${job.name}-${job.percent}-percent.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }, "image/png");
}

/* ---- What the reader does ---- */

the("load").addEventListener("click", loadNetwork);
the("photo").addEventListener("change", choosePhoto);
the("file").addEventListener("change", (event) => chooseFile(event.target.files));
for (const name of ["ratio", "detail", "whole", "colour"]) the(name).addEventListener("input", changed);
the("start").addEventListener("click", recover);
the("stop").addEventListener("click", stop);
the("frame").addEventListener("keydown", frameByKey);
for (const kind of ["pointerdown", "pointermove"]) {
  the("overview").addEventListener(kind, frameByPointer);
  the("view").addEventListener(kind, dividerByPointer);
}
the("at").addEventListener("input", moveDivider);
the("other").addEventListener("input", () => state.job && showOther());
the("stage").addEventListener("input", () => {
  if (state.job) state.job.follow = false;
  showStage();
});
the("save").addEventListener("click", save);
/* A file may be dropped anywhere on the page, and a miss must not make the browser leave it. */
addEventListener("dragover", (event) => {
  event.preventDefault();
  box.classList.add("dropping");
});
addEventListener("dragleave", () => box.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  box.classList.remove("dropping");
  if (!worker) complain("Load the network first, then drop the picture again.");
  else if (event.dataTransfer.files.length) chooseFile(event.dataTransfer.files);
  else complain("That was no file. Drop a picture from a folder, or choose one of the book's photographs.");
});
