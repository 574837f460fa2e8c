// The stacked curves of the selected interface.

// Returns the layers of a chart, the lowest first: key, name, colour, points.
function layersOf(dir) {
  const data = view[dir];
  if (isFiltered()) return filteredLayers(dir);
  if (chosen.stack === "family") {
    return FAMILIES.map((name, i) => ({ key: name, name, colour: `var(${["--c0", "--c1", "--rest"][i]})`, points: data.families[i] ?? [] }))
      .filter(layer => layer.name !== "Other" || layer.points.some(Boolean));
  }
  const layers = data.curves.map(([asn, points]) => ({ key: `${asn}`, name: networkName(asn)[0], note: networkName(asn)[1], ...networkStyle(asn), points }));
  const { rest } = data;
  // a remainder from rounding is not traffic
  const most = Math.max(1, ...rest, ...layers.flatMap(layer => layer.points));
  if (rest.some(value => value > most / 100)) layers.push({ key: "rest", name: "All others", colour: "var(--rest)", points: rest });
  return layers;
}

const TITLES = {
  networks: { ingress: { far: "from networks", near: "to networks here" }, egress: { far: "to networks", near: "from networks here" } },
};
const cross = { ingress: null, egress: null };
// The key of the only layer shown; empty for all.
const isolated = { ingress: "", egress: "" };

function drawChart(dir, port) {
  const host = $(`chart-${dir}`), now = isFiltered() ? filteredFigures(dir) : port[dir] && inPackets() ? { now: port[dir].packets, mean: port[dir].packets_mean, max: null } : port[dir];
  if (!view[dir] || !port[dir]) {
    host.replaceChildren(make("h3", {}, CHOICES.dir[dir]), make("p", { class: "empty" }, "This direction is not watched."));
    return;
  }
  const title = isFiltered() ? "with the filters" : chosen.stack === "family" ? "by IP version" : TITLES.networks[dir][chosen.side];
  const layers = layersOf(dir);
  if (!layers.some(layer => layer.key === isolated[dir])) isolated[dir] = "";
  const shown = layers.filter(layer => !isolated[dir] || layer.key === isolated[dir]);
  const width = Math.max(240, host.clientWidth), height = 210;
  const active = document.activeElement, focus = active === host.querySelector("svg");
  const focusKey = host.contains(active) ? active.dataset.key : undefined;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-label": `${CHOICES.dir[dir]} ${title}, ${bits(now.now)} now, mean ${bits(now.mean)}${now.max === null ? "" : `, at most ${bits(now.max)}`}. Arrow keys read the curve.` });
  const frame = plot(svg, shown, isolated[dir] || isFiltered() || inPackets() ? null : port.speed, width, height);
  host.replaceChildren(
    make("h3", {}, CHOICES.dir[dir], make("span", {}, title), make("b", {}, bits(now.now))),
    svg, legend(dir, layers, svg));
  follow(svg, dir, shown, frame);
  if (focus) svg.focus({ preventScroll: true });
  if (focusKey !== undefined) [...host.querySelectorAll("[data-key]")].find(button => button.dataset.key === focusKey)?.focus({ preventScroll: true });
  if (cross[dir] !== null) frame.point(cross[dir]);
}

// A click on an entry isolates its layer, another click shows all; the pointer over an entry highlights it.
function legend(dir, layers, svg) {
  const list = make("ul", { class: "legend" });
  for (const layer of layers) {
    const { key, name, note, points } = layer;
    const button = make("button", { type: "button", "data-key": key, "aria-pressed": isolated[dir] === key, title: note ? `${name} ${note}` : name },
      dotOf(layer), make("bdi", {}, name), make("span", {}, bits(points.at(-1) ?? 0)));
    button.addEventListener("click", () => { isolated[dir] = isolated[dir] === key ? "" : key; draw(); });
    const highlight = on => {
      svg.classList.toggle("dim", on);
      for (const path of svg.querySelectorAll("path")) path.classList.toggle("lit", on && path.dataset.key === key);
    };
    button.addEventListener("pointerenter", () => highlight(true));
    button.addEventListener("pointerleave", () => highlight(false));
    list.append(make("li", { class: isolated[dir] && isolated[dir] !== key ? "off" : undefined }, button));
  }
  return list;
}

const dotOf = ({ colour, hatched }) => make("i", { class: hatched ? "dot hatched" : "dot", paint: colour });

// Returns a round step such that four steps reach `value`.
function niceStep(value) {
  const least = Math.max(value, 1) / 4, power = 10 ** Math.floor(Math.log10(least));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map(n => n * power).find(n => n >= least);
}

// Seconds between two labels of the time axis.
const TICK_STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
// The points of a full window, and the least that an axis shows.
const SLOTS = 720, FEWEST_SLOTS = 2;

function tickLabel(value) {
  const [number, prefix] = scale(value);
  return `${Number(number)} ${prefix}`;
}

// Draws into `svg`; returns functions that locate a point in time. The axis is as long as the data, so that a
// new agent fills the width.
function plot(svg, layers, speed, width, height) {
  const left = 62, right = width - 4, top = 8, bottom = height - 20;
  const longest = Math.min(SLOTS, Math.max(0, ...layers.map(layer => layer.points.length)));
  const slots = Math.max(longest, FEWEST_SLOTS);
  const x = age => right - (right - left) * age / (slots - 1);
  const sums = new Float64Array(slots);
  const areas = layers.map(layer => {
    const length = Math.min(layer.points.length, slots), low = [], high = [];
    for (let i = 0; i < length; i++) {
      const age = length - 1 - i, under = sums[age];
      sums[age] += layer.points[layer.points.length - length + i] * perUnit();
      low.push([age, under]);
      high.push([age, sums[age]]);
    }
    return { layer, low, high };
  });
  let most = sums.reduce((a, b) => Math.max(a, b), 0);
  const limit = (speed || 0) * perUnit();
  if (limit && limit < most * 1.6) most = Math.max(most, limit);
  const step = niceStep(most * 1.04), peak = step * 4;
  const y = value => bottom - (bottom - top) * value / peak;
  for (let i = 0; i <= 4; i++) {
    const at = Math.round(y(step * i)) + .5;
    svg.append(make("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }),
      make("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, tickLabel(step * i)));
  }
  timeAxis(svg, { left, right, bottom, height, slots, x });
  drawAreas(svg, areas, x, y);
  svg.append(make("text", { class: "direct", x: left + 4, y: top + 10 }, unit()));
  if (limit && limit <= peak) svg.append(make("line", { class: "limit", x1: left, x2: right, y1: y(limit), y2: y(limit) }));
  if (!longest) svg.append(make("text", { x: (left + right) / 2, y: height / 2, "text-anchor": "middle" }, "The first rates follow in a few seconds"));
  const line = make("line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" });
  svg.append(line);
  return {
    line, x, longest,
    ageAt: px => Math.max(0, Math.min(slots - 1, Math.round((right - px) * (slots - 1) / (right - left)))),
  };
}

function timeAxis(svg, { left, right, bottom, height, slots, x }) {
  const width = seconds => (right - left) * seconds / ((slots - 1) * pointStep());
  const every = TICK_STEPS.find(seconds => width(seconds) >= 72) ?? TICK_STEPS.at(-1);
  const zone = chosen.zone === "utc" ? 0 : -new Date(view.now * 1000).getTimezoneOffset() * 60;
  const first = view.now - (slots - 1) * pointStep();
  for (let at = Math.ceil((first + zone) / every) * every - zone; at <= view.now; at += every) {
    const place = x((view.now - at) / pointStep());
    if (place < left + 20 || place > right - 24) continue;
    svg.append(make("line", { class: "grid", x1: place, x2: place, y1: bottom, y2: bottom + 4 }),
      make("text", { x: place, y: height - 4, "text-anchor": "middle" }, clock(at, every < 60)));
  }
}

// The height in pixels from which a layer bears its name, and the width of a letter.
const LABEL_HEIGHT = 17, LETTER = 6.2;

function drawAreas(svg, areas, x, y) {
  const draw = list => list.map(([age, value]) => `${x(age).toFixed(1)},${y(value).toFixed(1)}`);
  const labels = [];
  for (const { layer, low, high } of areas) {
    if (!high.length) continue;
    // a single point is drawn one point wide
    if (high.length === 1) { high.unshift([1, high[0][1]]); low.unshift([1, low[0][1]]); }
    const label = labelOf(layer, low, high, x, y);
    const d = `M${draw(high).join("L")}L${draw(low.reverse()).join("L")}Z`;
    svg.append(make("path", { class: "area", "data-key": layer.key, fill: layer.colour, d }));
    if (layer.hatched) svg.append(make("path", { class: "hatch", "data-key": layer.key, fill: "url(#hatch)", d }));
    if (label) labels.push(label);
  }
  svg.append(...labels);
}

// Returns the name of a layer as a text at its thickest place, or nothing if it is too thin for one.
function labelOf(layer, low, high, x, y) {
  let best = -1, most = LABEL_HEIGHT;
  high.forEach(([age, value], i) => {
    const thick = y(low[i][1]) - y(value);
    if (thick > most) [best, most] = [i, thick];
  });
  if (best < 0) return null;
  const text = layer.name.length > 24 ? `${layer.name.slice(0, 23)}…` : layer.name;
  const half = text.length * LETTER / 2, [oldest, newest] = [x(high[0][0]), x(high.at(-1)[0])];
  if (newest - oldest < 2 * half + 8) return null;
  const middle = Math.max(oldest + half + 4, Math.min(newest - half - 4, x(high[best][0])));
  const at = high.reduce((near, point, i) => Math.abs(x(point[0]) - middle) < Math.abs(x(high[near][0]) - middle) ? i : near, 0);
  const [above, below] = [y(high[at][1]), y(low[at][1])];
  if (below - above < LABEL_HEIGHT) return null;
  return make("text", { class: "direct", x: middle, y: (above + below) / 2 + 4, "text-anchor": "middle" }, text);
}

function follow(svg, dir, layers, frame) {
  const tip = $("tip");
  frame.point = age => {
    if (!frame.longest) return;
    age = Math.max(0, Math.min(age, frame.longest - 1));
    cross[dir] = age;
    const place = frame.x(age), box = svg.getBoundingClientRect();
    frame.line.setAttribute("x1", place);
    frame.line.setAttribute("x2", place);
    frame.line.setAttribute("visibility", "visible");
    const lines = layers.map(layer => ({ ...layer, rate: layer.points[layer.points.length - 1 - age] })).filter(l => l.rate);
    const sum = lines.reduce((total, l) => total + l.rate, 0), at = view.now - age * pointStep();
    tip.replaceChildren(make("div", {}, make("b", {}, clock(at, true)), make("span", {}, bits(sum))),
      ...lines.reverse().map(l => make("div", {}, dotOf(l), make("bdi", {}, l.name), make("span", {}, bits(l.rate)))));
    tip.hidden = false;
    const wide = tip.offsetWidth, px = box.left + place * box.width / svg.viewBox.baseVal.width;
    tip.style.left = `${px + 14 + wide > innerWidth ? Math.max(4, px - wide - 14) : px + 14}px`;
    tip.style.top = `${Math.max(4, Math.min(box.top + 6, innerHeight - tip.offsetHeight - 4))}px`;
  };
  const hide = () => { tip.hidden = true; cross[dir] = null; frame.line.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    frame.point(frame.ageAt((event.clientX - box.left) * svg.viewBox.baseVal.width / box.width));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", event => {
    const step = { ArrowLeft: 1, ArrowRight: -1, PageUp: 60, PageDown: -60 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    frame.point((cross[dir] ?? -Math.min(step, 0)) + step);
  });
}
