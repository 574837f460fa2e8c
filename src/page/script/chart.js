// The stacked curves of the selected interface.

// Returns the layers of a chart, the lowest first: key, name, colour, points.
function layersOf(dir) {
  if (isStored()) return storedLayers(dir);
  const data = view[dir];
  if (isFiltered()) return filteredLayers(dir);
  return chosen.stack === "family" ? familyLayers(data.families) : networkLayers(data.curves, data.rest, chosen.side);
}

function familyLayers(families) {
  return FAMILIES.map((name, i) => ({ key: name, name, colour: `var(${["--c0", "--c1", "--rest"][i]})`, points: families[i] ?? [] }))
    .filter(layer => layer.name !== "Other" || layer.points.some(Boolean));
}

function networkLayers(curves, rest, end) {
  const layers = curves.map(([asn, points]) => ({ key: `${asn}`, name: networkName(asn, end)[0], note: networkName(asn, end)[1], ...networkStyle(asn), points }));
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
// The age at which a selection by keyboard begins.
const anchor = { ingress: null, egress: null };
let dragged = false;
// The time of the last point.
const chartEnd = () => isStored() && stored() ? stored().to - stored().step : view.now;

function drawChart(dir, port) {
  // a drawing under the pointer stays
  if (dragged) return;
  const host = $(`chart-${dir}`), data = stored(), isPast = isStored();
  if (isPast ? !data?.[dir] : !view[dir] || !port[dir]) {
    const reason = !isPast ? "This direction is not watched." : data || past.error ? "No data." : "Reading the history…";
    host.replaceChildren(make("h3", {}, CHOICES.dir[dir]), make("p", { class: "empty" }, reason));
    return;
  }
  const now = isPast || isFiltered() ? filteredFigures(dir) : inPackets() ? { now: port[dir].packets, mean: port[dir].packets_mean, max: null } : port[dir];
  const isByFamily = chosen.stack === "family" || isPast && inPackets();
  const title = isFiltered() ? "with the filters" : isByFamily ? "by IP version" : TITLES.networks[dir][isPast ? "far" : chosen.side];
  const layers = layersOf(dir);
  if (!layers.some(layer => layer.key === isolated[dir])) isolated[dir] = "";
  const shown = layers.filter(layer => !isolated[dir] || layer.key === isolated[dir]);
  const width = Math.max(240, host.clientWidth), height = 210;
  const active = document.activeElement, focus = active === host.querySelector("svg");
  const focusKey = host.contains(active) ? active.dataset.key ?? active.getAttribute("aria-label") : undefined;
  const p95 = isolated[dir] ? null : isFiltered() ? now.p95 : ofShown(past.data)?.[dir]?.p95, earlier = isolated[dir] ? null : ofShown(past.data) && past.earlier?.[dir] && past.earlier;
  const [figure, value] = isPast ? ["mean ", now.mean] : ["", now.now];
  const keys = view.stored ? " Shift selects a period, Enter shows it." : "";
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-label": `${CHOICES.dir[dir]} ${title}, ${figure}${bits(value)}${isPast ? "" : ` now, mean ${bits(now.mean)}`}${Number.isFinite(now.max) ? `, at most ${bits(now.max)}` : ""}${p95 ? `, 95th percentile ${bits(p95)}` : ""}. Arrow keys read the curve.${keys}` });
  svg.classList.toggle("dense", isPast);
  const frame = plot(svg, shown, isolated[dir] || isFiltered() || inPackets() ? null : port.speed, width, height, { p95, earlier: earlier?.[dir].total, answer: earlier, gaps: isPast ? data.gaps : [] });
  const list = legend(dir, layers, svg);
  if (earlier) list.append(make("li", { class: "key" }, make("i", { class: "dash" }), CHOICES.compare[chosen.compare]));
  // the browser may report that the previous drawing lost the focus
  const kept = [cross[dir], anchor[dir]];
  host.replaceChildren(...[
    make("h3", {}, CHOICES.dir[dir], make("span", {}, title), p95 && make("span", { class: "percentile" }, `95th percentile ${bits(p95)}`), make("b", {}, figure + bits(value))),
    svg, view.stored && eventMarks(svg, frame), list].filter(Boolean));
  follow(svg, dir, shown, frame);
  if (focus) svg.focus({ preventScroll: true });
  if (focusKey) [...host.querySelectorAll("button")].find(button => (button.dataset.key ?? button.getAttribute("aria-label")) === focusKey)?.focus({ preventScroll: true });
  [cross[dir], anchor[dir]] = kept;
  if (cross[dir] !== null) frame.point(cross[dir]);
}

// An answer of the history on disk, if it is of the interfaces of the charts.
const ofShown = data => data?.interfaces === chosenInterfaces().join() ? data : null;

// A click on an entry isolates its layer, another click shows all; the pointer over an entry highlights it.
function legend(dir, layers, svg) {
  const list = make("ul", { class: "legend" });
  for (const layer of layers) {
    const { key, name, note, points } = layer;
    const button = make("button", { type: "button", "data-key": key, "aria-pressed": isolated[dir] === key, title: note ? `${name} ${note}` : name },
      dotOf(layer), make("bdi", {}, name), make("span", {}, bits((isStored() ? points.reduce((sum, n) => sum + n, 0) / points.length : points.at(-1)) || 0)));
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

// The points of a full window, the least that an axis shows, and the most that an answer has.
const SLOTS = 720, FEWEST_SLOTS = 2, MOST_SLOTS = 750;

function tickLabel(value) {
  const [number, prefix] = scale(value);
  return `${Number(number)} ${prefix}`;
}

// Draws into `svg`; returns functions that locate a point in time. The axis is as long as the data, so that a
// new agent fills the width.
function plot(svg, layers, speed, width, height, { p95, earlier, answer, gaps }) {
  const left = 62, right = width - 4, top = 8, bottom = height - 20;
  const longest = Math.min(MOST_SLOTS, Math.max(0, ...layers.map(layer => layer.points.length)));
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
  // the times of another day are those of this one
  const old = (earlier ?? []).map((value, i) => [(chartEnd() - past.shift - answer.from - i * answer.step) / pointStep(), value * perUnit()]).filter(([age], i) => age >= -1 && age <= slots && !isGap(answer.gaps, i));
  most = Math.max(most, (p95 ?? 0) * perUnit(), ...old.map(([, value]) => value));
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
  for (const [first, number] of gaps) {
    const begin = x(slots - first), end = x(slots - first - number - 1);
    svg.append(make("rect", { class: "gap", x: Math.max(left, begin), y: top, width: Math.max(1, Math.min(right, end) - Math.max(left, begin)), height: bottom - top }));
  }
  drawAreas(svg, areas, x, y);
  if (old.length > 1) svg.append(make("path", { class: "earlier", d: `M${old.map(([age, value]) => `${Math.max(left, Math.min(right, x(age))).toFixed(1)},${y(value).toFixed(1)}`).join("L")}` }));
  if (p95) {
    const at = y(p95 * perUnit());
    svg.append(make("line", { class: "p95", x1: left, x2: right, y1: at, y2: at }), make("text", { class: "direct", x: right - 4, y: at < top + 16 ? at + 13 : at - 4, "text-anchor": "end" }, "95 %"));
  }
  svg.append(make("text", { class: "direct", x: left + 4, y: top + 10 }, unit()));
  if (limit && limit <= peak) svg.append(make("line", { class: "limit", x1: left, x2: right, y1: y(limit), y2: y(limit) }));
  if (!longest) svg.append(make("text", { x: (left + right) / 2, y: height / 2, "text-anchor": "middle" }, "The first rates follow in a few seconds"));
  const line = make("line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" });
  svg.append(line);
  return {
    line, x, longest, left, right, top, bottom,
    ageAt: px => Math.max(0, Math.min(slots - 1, Math.round((right - px) * (slots - 1) / (right - left)))),
  };
}

function timeAxis(svg, { left, right, bottom, height, slots, x }) {
  const last = chartEnd(), seconds = (slots - 1) * pointStep();
  for (const [at, text] of timeTicks(last - seconds, last, seconds / (right - left) * 72)) {
    const place = x((last - at) / pointStep());
    if (place < left + 20 || place > right - 24) continue;
    svg.append(make("line", { class: "grid", x1: place, x2: place, y1: bottom, y2: bottom + 4 }),
      make("text", { x: place, y: height - 4, "text-anchor": "middle" }, text));
  }
}

const isGap = (gaps, slot) => gaps.some(([first, number]) => slot >= first && slot < first + number);

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

// Shows the tip beside a place of a chart.
function showTip(rows, px, box) {
  const tip = $("tip");
  tip.replaceChildren(...rows);
  tip.hidden = false;
  const wide = tip.offsetWidth;
  tip.style.left = `${px + 14 + wide > innerWidth ? Math.max(4, px - wide - 14) : px + 14}px`;
  tip.style.top = `${Math.max(4, Math.min(box.top + 6, innerHeight - tip.offsetHeight - 4))}px`;
}

function follow(svg, dir, layers, frame) {
  const tip = $("tip"), { left, right, top, bottom } = frame;
  const band = make("rect", { class: "band", y: top, height: bottom - top, width: 0, x: left, visibility: "hidden" });
  svg.append(band);
  const mark = (a, b) => {
    const [from, to] = [Math.max(left, Math.min(a, b)), Math.min(right, Math.max(a, b))];
    band.setAttribute("x", from);
    band.setAttribute("width", Math.max(0, to - from));
    band.setAttribute("visibility", "visible");
  };
  const timeAt = age => chartEnd() - age * pointStep();
  const zoom = (older, newer) => {
    anchor[dir] = cross[dir] = null;
    tip.hidden = true;
    zoomTo(timeAt(Math.max(older, newer)), timeAt(Math.min(older, newer)) + (isStored() ? pointStep() : 0));
  };
  frame.point = age => {
    if (!frame.longest) return;
    age = Math.max(0, Math.min(age, frame.longest - 1));
    cross[dir] = age;
    const place = frame.x(age), box = svg.getBoundingClientRect();
    frame.line.setAttribute("x1", place);
    frame.line.setAttribute("x2", place);
    frame.line.setAttribute("visibility", "visible");
    if (anchor[dir] !== null) mark(frame.x(anchor[dir]), place);
    const lines = layers.map(layer => ({ ...layer, rate: layer.points[layer.points.length - 1 - age] })).filter(l => l.rate);
    const sum = lines.reduce((total, l) => total + l.rate, 0), at = timeAt(age), data = stored();
    const time = !data ? clock(at, true) : data.step < 86400 ? moment(at) : dateText(at, { day: "numeric", month: "short", year: "numeric" });
    showTip([make("div", {}, make("b", {}, time), make("span", {}, bits(sum))),
      ...lines.reverse().map(l => make("div", {}, dotOf(l), make("bdi", {}, l.name), make("span", {}, bits(l.rate))))],
    box.left + place * box.width / svg.viewBox.baseVal.width, box);
  };
  const hide = () => { tip.hidden = true; cross[dir] = anchor[dir] = null; frame.line.setAttribute("visibility", "hidden"); band.setAttribute("visibility", "hidden"); };
  const placeOf = event => {
    const box = svg.getBoundingClientRect();
    return (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
  };
  let start = null;
  svg.addEventListener("pointerdown", event => {
    if (!view.stored || event.button || !frame.longest) return;
    start = placeOf(event);
    dragged = true;
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    const place = placeOf(event);
    frame.point(frame.ageAt(place));
    if (start !== null && Math.abs(place - start) > 8) mark(start, place);
  });
  const end = isDone => event => {
    if (start === null) return;
    const [from, to] = [start, placeOf(event)];
    start = null;
    dragged = false;
    band.setAttribute("visibility", "hidden");
    if (isDone && Math.abs(to - from) > 8) zoom(frame.ageAt(from), frame.ageAt(to));
  };
  svg.addEventListener("pointerup", end(true));
  svg.addEventListener("pointercancel", end(false));
  svg.addEventListener("pointerleave", () => { if (start === null && document.activeElement !== svg) hide(); });
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", event => {
    const step = { ArrowLeft: 1, ArrowRight: -1, PageUp: 60, PageDown: -60 }[event.key];
    if (event.key === "Escape") hide();
    if (event.key === "Enter" && anchor[dir] !== null && anchor[dir] !== cross[dir]) zoom(anchor[dir], cross[dir]);
    if (!step) return;
    event.preventDefault();
    if (!event.shiftKey) { anchor[dir] = null; band.setAttribute("visibility", "hidden"); }
    else if (view.stored) anchor[dir] ??= cross[dir] ?? 0;
    frame.point((cross[dir] ?? -Math.min(step, 0)) + step);
  });
}
