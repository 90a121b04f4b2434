// Replaces the three still frames of each slider by one that moves. Every output carries this script, for in Colab each
// has a page of its own; whichever comes first makes a slider live.
for (const box of document.querySelectorAll(".istapp-slider:not([data-live])")) {
  box.dataset.live = "soon";
  const { width, height, panels, density, widest, label, captions, headings, start } = JSON.parse(box.dataset.frames);
  const last = captions.length - 1;
  const make = (parent, tag, given = {}) => parent.appendChild(Object.assign(document.createElement(tag), given));
  const live = document.createElement("div");
  live.className = "live";
  const view = make(live, "div", { className: "panels" });
  live.style.maxWidth = `${Math.max(320, widest * panels)}px`;
  const canvases = Array.from({ length: panels }, (_, panel) => {
    const part = make(view, "div");
    if (headings[panel]) make(part, "span", { textContent: headings[panel] });
    const canvas = make(part, "canvas", { width: width * density, height: height * density });
    canvas.setAttribute("role", "img");
    return canvas;
  });
  const bar = make(live, "div", { className: "bar" });
  const button = make(bar, "button", { type: "button" });
  const range = make(bar, "input", { type: "range", min: 0, max: last, step: 1, value: start });
  range.setAttribute("aria-label", label);
  const said = make(live, "p");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const sprite = new Image();
  let timer = 0;

  const show = (frame) => {
    range.value = frame;
    const text = `${frame + 1} of ${last + 1}: ${captions[frame]}`;
    range.setAttribute("aria-valuetext", text);
    said.textContent = text;
    canvases.forEach((canvas, panel) => {
      canvas.setAttribute("aria-label", `${headings[panel] || label}, frame ${text}`);
      canvas.getContext("2d").drawImage(sprite, panel * width, frame * height, width, height,
        0, 0, canvas.width, canvas.height);
    });
  };
  const play = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(next, Math.min(800, Math.max(200, 6000 / last))) : 0;
    button.textContent = on ? "❚❚" : "▶";
    button.setAttribute("aria-label", `${on ? "Pause" : "Play"}: ${label}`);
  };
  const next = () => {
    if (calm.matches || !box.isConnected) return play(false);
    show(Math.min(+range.value + 1, last));
    if (+range.value === last) play(false);
  };
  const drag = (event) => {
    if (!event.buttons) return;
    const { left, width: across } = view.getBoundingClientRect();
    play(false);
    show(Math.round(Math.min(1, Math.max(0, (event.clientX - left) / across)) * last));
    range.focus({ preventScroll: true });
  };
  button.onclick = () => {
    if (!timer && +range.value === last) show(0);
    play(!timer);
  };
  range.oninput = () => {
    play(false);
    show(+range.value);
  };
  view.onpointermove = drag;
  view.onpointerdown = (event) => {
    view.setPointerCapture(event.pointerId);
    drag(event);
  };
  view.onmousedown = (event) => event.preventDefault(); // which would select text, and take the keys from the slider

  sprite.onload = () => {
    play(false);
    show(start);
    box.append(live);
    box.dataset.live = "yes";
  };
  sprite.src = box.dataset.sprite;
}
