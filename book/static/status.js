// The status page: sorts its table by any column, and shows the rows that hold what is typed. Works from file://.
(() => {
  const table = document.getElementById("status");
  if (!table) return;
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], rows = [...body.rows];
  const key = (row, i) => {
    const cell = row.cells[i], text = cell.dataset.key;
    if (text !== undefined) return Number(text);
    return cell.textContent === "–" || cell.textContent === "" ? null : cell.textContent;
  };
  let by = 0, down = false;
  const order = (a, b) => {
    const x = key(a, by), y = key(b, by);
    if (x === null || y === null) return (x === null) - (y === null);  // what is missing comes last, up or down
    const sign = typeof x === "number" ? x - y : x.localeCompare(y);
    return (down ? -sign : sign) || key(a, 1) - key(b, 1);
  };
  const sort = (i) => {
    down = i === by ? !down : false;
    by = i;
    body.append(...rows.sort(order));
    heads.forEach((head, n) => head.setAttribute("aria-sort", n !== by ? "none" : down ? "descending" : "ascending"));
    choice.value = `${by}${down ? "-" : ""}`;
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.onclick = () => sort(i);
    head.replaceChildren(button);
  });
  const choice = document.createElement("select"), search = document.createElement("input"), bar = document.createElement("p");
  heads.slice(0, -1).forEach((head, i) => {
    choice.add(new Option(`${head.textContent} ↑`, `${i}`));
    choice.add(new Option(`${head.textContent} ↓`, `${i}-`));
  });
  choice.value = "0";
  choice.onchange = () => {
    const i = parseInt(choice.value), wanted = choice.value.endsWith("-");
    if (i !== by || wanted !== down) { by = i; down = !wanted; sort(i); }
  };
  search.type = "search";
  search.placeholder = "for example: Set11 not run";
  const count = document.createElement("output");
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => { row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word)); });
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} cells`;
  };
  search.oninput = show;
  const labelled = (text, field) => {
    const label = document.createElement("label");
    label.append(`${text} `, field);
    return label;
  };
  bar.className = "status-bar";
  heads[0].setAttribute("aria-sort", "ascending");
  bar.append(labelled("show", search), labelled("sort by", choice), count);
  table.parentElement.before(bar);
  show();
})();
