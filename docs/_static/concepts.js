// Draws the figure of the concepts page from window.CELLS (docs/concepts_figure.py).
"use strict";
{
  const SIZE = 480;
  const root = document.getElementById("cells");
  const make = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const scenes = window.CELLS;
  root.innerHTML = `
    <p class="cells-controls">
      <label>photograph <select>${Object.keys(scenes).map((name) => `<option>${name}</option>`).join("")}</select></label>
      <label>activated <input type="range" min="0" max="4" step="0.01" value="0"></label>
    </p>
    <svg viewBox="0 0 ${SIZE} ${SIZE}" role="img" aria-labelledby="cells-state"></svg>
    <p id="cells-state" role="status"></p>`;
  const [select, range] = root.querySelectorAll("select, input");
  const svg = root.querySelector("svg");
  const state = root.querySelector("#cells-state");

  const draw = () => {
    const { edits, box: [left, top, side], cells, own, code, copies, inside } = scenes[select.value];
    const at = ([x, y]) => [((x - left) / side) * SIZE, ((top - y) / side) * SIZE];
    const step = Math.min(Math.floor(range.value), own.length - 2), share = range.value - step;
    const between = (values) =>
      values[step].map((value, axis) => value + share * (values[step + 1][axis] - value));
    const kept = inside[Math.round(range.value)];
    svg.replaceChildren();
    for (const [mine, corners] of cells) {
      svg.append(make("polygon", { class: mine ? "cell mine" : "cell", points: corners.map(at).join(" ") }));
    }
    const [x, y] = at(between(own));
    const marks = edits.map((edit, number) => {
      const place = [copies[step][number], copies[step + 1][number]];
      const [cx, cy] = at([0, 1].map((axis) => place[0][axis] + share * (place[1][axis] - place[0][axis])));
      svg.append(make("line", { class: kept[number] ? "stays" : "leaves", x1: x, y1: y, x2: cx, y2: cy }));
      const mark = make("circle", { class: kept[number] ? "stays" : "leaves", cx, cy, r: 6 });
      mark.append(make("title", {}, `${edit}: ${kept[number] ? "stays in the cell" : "leaves the cell"}`));
      return mark;
    });
    const [tx, ty] = at(code);
    svg.append(
      make("path", { class: "code", d: `M${tx - 7},${ty}h14M${tx},${ty - 7}v14` }),
      make("circle", { class: "own", cx: x, cy: y, r: 8 }),
      ...marks,
    );
    const stay = kept.filter(Boolean).length;
    const percent = Math.round((range.value / 4) * 100);
    state.textContent = `${percent} % of the change: ${stay} of ${edits.length} copies stay in the cell of the original.`;
  };
  select.addEventListener("change", draw);
  range.addEventListener("input", draw);
  draw();
  document.querySelectorAll("img[src*='cells']").forEach((still) => still.remove());
}
