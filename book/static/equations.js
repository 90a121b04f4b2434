/* Equations that are wider than the page: broken into lines where a reader would break them, then made smaller.

   A displayed formula that does not fit is split at wide spaces first, then before relations as well, then before plus
   and minus signs, each time only if it still does not fit; what no line break helps shrinks, down to a readable size,
   and beyond that it scrolls. Turning a telephone starts anew from the formula as it was written. */
(() => {
  const LEVELS = [
    /^\\q?quad(?![A-Za-z])/,
    /^(?:=|<|>|\\(?:le|ge|leq|geq|approx|sim|to|iff|leftarrow|Longleftrightarrow|in)(?![A-Za-z]))/,
    /^[+-]/,
  ];
  const SMALLEST = 0.58;

  /* Cut a formula at its rows and where one of the patterns begins, outside all braces, fences and environments. */
  function pieces(tex, patterns) {
    const found = [""];
    let depth = 0;
    let inBars = false;
    let previous = "";
    for (let i = 0; i < tex.length; ) {
      const rest = tex.slice(i);
      const token = /^\\(?:[A-Za-z]+|.)|^[^\\]/s.exec(rest)[0];
      if (/^(?:\{|\(|\[|\\\{|\\left|\\begin|\\bigl|\\Bigl|\\langle)$/.test(token)) depth += 1;
      if (/^(?:\}|\)|\]|\\\}|\\right|\\end|\\bigr|\\Bigr|\\rangle)$/.test(token)) depth -= 1;
      if (/^(?:\||\\\||\\[lr]Vert)$/.test(token)) inBars = !inBars;
      const free = depth === 0 && !inBars && previous !== "^" && previous !== "_";
      if (free && /^(?:\\cr|\\\\)$/.test(token)) {
        found.push("");
        i += token.length;
        continue;
      }
      const here = free && found.at(-1).trim() && patterns.find((pattern) => pattern.test(rest));
      if (here && here === LEVELS[0]) found.push("");
      else if (here && !/[=<>+\-]\s*$|\\(?:le|ge|approx|sim|to|iff)\s*$/.test(found.at(-1))) found.push(token);
      else if (!free || token !== "&") found[found.length - 1] += token;
      previous = token;
      i += token.length;
    }
    const space = String.raw`(?:\\[ ,;!]|\s)+`;
    return found.map((piece) => piece.replace(new RegExp(`^${space}|${space}$`, "g"), "")).filter(Boolean);
  }

  function broken(tex, level) {
    const tag = /\\tag\{[^}]*\}/.exec(tex)?.[0] ?? "";
    const rows = /^\s*\\begin\{aligned\}(.*)\\end\{aligned\}\s*$/s.exec(tex.replace(tag, ""))?.[1];
    const lines = pieces(rows ?? tex.replace(tag, ""), LEVELS.slice(0, level));
    return lines.length > 1 ? `\\begin{gathered}${lines.join("\\\\[0.4em]")}\\end{gathered}${tag}` : tex;
  }

  function fit(item) {
    const page = MathJax.startup.document;
    const box = () => item.typesetRoot;
    const tooWide = () => box().clientWidth > 0 && box().scrollWidth > box().clientWidth + 1;
    const written = (item.written ??= item.math);
    const write = (tex) => {
      if (item.math === tex) return;
      item.math = tex;
      item.rerender(page, MathJax._.core.MathItem.STATE.COMPILED);
    };
    write(written);
    box().style.fontSize = "";
    for (let level = 1; tooWide() && level <= LEVELS.length; level += 1) write(broken(written, level));
    for (let share = 1; tooWide() && share > SMALLEST; ) {
      share = Math.max(SMALLEST, (0.97 * share * box().clientWidth) / box().scrollWidth);
      box().style.fontSize = `${Math.floor(100 * share)}%`;
    }
  }

  /* A formula within a line cannot be broken; one that is longer than its paragraph is wide becomes smaller, and where
     that would make it illegible it scrolls by itself. */
  function fitInLine(items) {
    for (const item of items) if (item.typesetRoot.style.fontSize) item.typesetRoot.style.fontSize = "";
    const shares = items.map(({ typesetRoot }) => {
      const around = typesetRoot.closest("p, li, dd, td, div");
      // a column of a grid grows with what is in it, beyond the screen
      const left = document.documentElement.clientWidth - (around?.getBoundingClientRect().left ?? 0);
      const room = Math.min(around?.clientWidth ?? 0, left - 16);
      return room > 0 ? room / typesetRoot.getBoundingClientRect().width : 1;
    });
    items.forEach(({ typesetRoot }, n) => {
      typesetRoot.classList.toggle("too-long", shares[n] < SMALLEST);
      if (shares[n] < 1) typesetRoot.style.fontSize = `${Math.floor(100 * Math.max(SMALLEST, shares[n]))}%`;
    });
  }

  function fitAll() {
    const items = [...MathJax.startup.document.math];
    items.filter((item) => item.display).forEach(fit);
    fitInLine(items.filter((item) => !item.display));
    document.documentElement.dataset.fittedTo = window.innerWidth;
  }

  let width = 0;
  let waiting = 0;
  window.addEventListener("load", () => {
    window.MathJax?.startup?.promise?.then(() => {
      width = window.innerWidth;
      fitAll();
      document.documentElement.dataset.equations = "fitted";
    });
  });
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (window.innerWidth !== width && window.MathJax?.startup?.document) {
        width = window.innerWidth;
        fitAll();
      }
    }, 200);
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.open && document.documentElement.dataset.equations) fitAll();
  }, true);
})();
