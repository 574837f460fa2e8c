// The stacked curves of the selected interface.

// Returns the layers of a chart, the lowest first: name, colour, points.
function layersOf(dir) {
  const data = view[dir];
  if (chosen.stack === "family") {
    return FAMILIES.map((name, i) => ({ name, colour: ["--c0", "--c1", "--rest"][i], points: data.families[i] }))
      .filter(layer => layer.name !== "Other" || layer.points.some(Boolean));
  }
  const layers = data.curves.map(([asn, points]) => ({ asn, name: networkName(asn)[0], note: networkName(asn)[1], colour: colourOf(dir, asn), points }));
  const rest = data.flows.slice();
  for (const { points } of layers) {
    const shift = rest.length - points.length;
    points.forEach((value, i) => { if (i + shift >= 0) rest[i + shift] = Math.max(0, rest[i + shift] - value); });
  }
  // a remainder from rounding is not traffic
  const most = Math.max(1, ...data.flows);
  if (rest.some(value => value > most / 100)) layers.push({ name: "All others", colour: "--rest", points: rest });
  return layers;
}

function colourOf(dir, asn) {
  if (asn === 0) return "--unknown";
  if (asn < 0) return "--rest";
  const rank = view[dir].curves.filter(([other]) => other > 0).findIndex(([other]) => other === asn);
  return rank < 0 ? undefined : `--c${rank % 10}`;
}

const TITLES = {
  networks: { ingress: { far: "from networks", near: "to networks here" }, egress: { far: "to networks", near: "from networks here" } },
};
const cross = { ingress: null, egress: null };

function drawChart(dir, port) {
  const host = $(`chart-${dir}`), now = port[dir];
  if (!view[dir] || !now) {
    host.replaceChildren(make("h3", {}, CHOICES.dir[dir]), make("p", { class: "empty" }, "This direction is not watched."));
    return;
  }
  const title = chosen.stack === "family" ? "by IP version" : TITLES.networks[dir][chosen.side];
  const layers = layersOf(dir);
  const width = Math.max(240, host.clientWidth), height = 210;
  const focus = document.activeElement === host.querySelector("svg");
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-label": `${CHOICES.dir[dir]} ${title}, ${bits(now.now)} now, mean ${bits(now.mean)}, at most ${bits(now.max)}. Arrow keys read the curve.` });
  const frame = plot(svg, layers, port.speed, width, height);
  host.replaceChildren(
    make("h3", {}, CHOICES.dir[dir], make("span", {}, title), make("b", {}, bits(now.now))),
    svg, legend(dir, layers));
  follow(svg, dir, layers, frame);
  if (focus) svg.focus({ preventScroll: true });
  if (cross[dir] !== null && focus) frame.point(cross[dir]);
}

function legend(dir, layers) {
  const list = make("ul", { class: "legend" });
  for (const { name, note, colour, points } of layers) {
    list.append(make("li", {}, make("i", { class: "dot", paint: colour }), make("bdi", { title: note ? `${name} ${note}` : name }, name), make("span", {}, bits(points.at(-1) ?? 0))));
  }
  return list;
}

// Returns a round step such that four steps reach `value`.
function niceStep(value) {
  const least = Math.max(value, 1) / 4, power = 10 ** Math.floor(Math.log10(least));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map(n => n * power).find(n => n >= least);
}

const TICK_STEPS = { hour: 600, day: 10800 };

function tickLabel(value) {
  const [number, prefix] = scale(value);
  return `${Number(number)} ${prefix}`;
}

// Draws into `svg`; returns functions that locate a point in time.
function plot(svg, layers, speed, width, height) {
  const left = 62, right = width - 4, top = 8, bottom = height - 20, slots = 720;
  const x = age => right - (right - left) * age / (slots - 1);
  const sums = new Float64Array(slots);
  const paths = layers.map(({ points, colour }) => {
    const length = Math.min(points.length, slots), low = [], high = [];
    for (let i = 0; i < length; i++) {
      const age = length - 1 - i, under = sums[age];
      sums[age] += points[points.length - length + i] * 8;
      low.push([age, under]);
      high.push([age, sums[age]]);
    }
    return { colour, low, high };
  });
  let most = sums.reduce((a, b) => Math.max(a, b), 0);
  const limit = (speed || 0) * 8;
  if (limit && limit < most * 1.6) most = Math.max(most, limit);
  const step = niceStep(most * 1.04), peak = step * 4;
  const y = value => bottom - (bottom - top) * value / peak;
  for (let i = 0; i <= 4; i++) {
    const at = Math.round(y(step * i)) + .5;
    svg.append(make("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }),
      make("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, tickLabel(step * i)));
  }
  svg.append(make("text", { x: left + 4, y: top + 10 }, "bit/s"));
  let every = TICK_STEPS[view.window];
  while ((right - left) * every / (slots * view.step) < 72) every *= 2;
  const zone = -new Date(view.now * 1000).getTimezoneOffset() * 60;
  const first = view.now - (slots - 1) * view.step;
  for (let at = Math.ceil((first + zone) / every) * every - zone; at <= view.now; at += every) {
    const place = x((view.now - at) / view.step);
    if (place < left + 16 || place > right - 14) continue;
    svg.append(make("line", { class: "grid", x1: place, x2: place, y1: bottom, y2: bottom + 4 }),
      make("text", { x: place, y: height - 4, "text-anchor": "middle" }, clock(at)));
  }
  const draw = list => list.map(([age, value]) => `${x(age).toFixed(1)},${y(value).toFixed(1)}`);
  for (const { colour, low, high } of paths) {
    if (!high.length) continue;
    // a single point is drawn one point wide
    if (high.length === 1) { high.unshift([1, high[0][1]]); low.unshift([1, low[0][1]]); }
    svg.append(make("path", { fill: colour, d: `M${draw(high).join("L")}L${draw(low.reverse()).join("L")}Z` }));
  }
  if (limit && limit <= peak) svg.append(make("line", { class: "limit", x1: left, x2: right, y1: y(limit), y2: y(limit) }));
  if (!layers.some(layer => layer.points.length)) svg.append(make("text", { x: (left + right) / 2, y: height / 2, "text-anchor": "middle" }, "Nothing yet"));
  const line = make("line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" });
  svg.append(line);
  return {
    line, x,
    ageAt: px => Math.max(0, Math.min(slots - 1, Math.round((right - px) * (slots - 1) / (right - left)))),
    longest: Math.max(0, ...layers.map(layer => layer.points.length)),
  };
}

function follow(svg, dir, layers, frame) {
  const tip = $("tip");
  frame.point = age => {
    if (!frame.longest) return;
    age = Math.max(0, Math.min(age, frame.longest - 1, 719));
    cross[dir] = age;
    const place = frame.x(age), box = svg.getBoundingClientRect();
    frame.line.setAttribute("x1", place);
    frame.line.setAttribute("x2", place);
    frame.line.setAttribute("visibility", "visible");
    const lines = layers.map(layer => ({ ...layer, rate: layer.points[layer.points.length - 1 - age] })).filter(l => l.rate);
    const sum = lines.reduce((total, l) => total + l.rate, 0), at = view.now - age * view.step;
    tip.replaceChildren(make("div", {}, make("b", {}, clock(at, true)), make("span", {}, bits(sum))),
      ...lines.reverse().map(l => make("div", {}, make("i", { class: "dot", paint: l.colour }), make("bdi", {}, l.name), make("span", {}, bits(l.rate)))));
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
