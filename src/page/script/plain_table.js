// Tables of few lines: drawn again as a whole, and only if a line has changed.

const plainTables = {};

// Each line is an array of cells: { text, note, sub, level }; a cell with a rate, volume or share has `figure`.
function drawPlainTable(id, lines) {
  const now = JSON.stringify(lines);
  if (plainTables[id] === now) return;
  plainTables[id] = now;
  $(id).tBodies[0].replaceChildren(...lines.map(cells => make("tr", {}, ...cells.map(plainCell))));
}

function plainCell({ text, note, sub, level, figure }) {
  if (figure !== undefined) return make("td", { class: "n" }, ...rateCell(0, figure));
  return make("td", { class: level }, make("bdi", {}, text), note && make("span", { class: "as" }, note), sub && make("div", { class: "sub" }, sub));
}
