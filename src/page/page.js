// Names are untrusted (interfaces, databases, routers): the document shows them as text, never as
// markup.
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes, ...children) {
  const node = tag === "svg" || tag === "path" || tag === "line" || tag === "text"
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "fill" && String(value).startsWith("--")) node.style.fill = `var(${value})`;
    else if (name === "paint") node.style.background = `var(${value})`;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(c => c !== undefined && c !== null && c !== ""));
  return node;
}

// ---- the selection, stored in the address

const CHOICES = {
  window: { hour: "1 hour", day: "24 hours" },
  stack: { networks: "Networks", family: "IP version" },
  side: { far: "Far end", near: "Near end" },
  tab: { networks: "Networks", neighbours: "Neighbours", countries: "Countries", cities: "Cities", protocols: "Protocols" },
  dir: { ingress: "In", egress: "Out" },
};
const COLUMNS = ["name", "now", "mean", "max", "share", "pps", "packets", "peer"];
const chosen = { if: "", sort: "mean", asc: false };
for (const key in CHOICES) chosen[key] = Object.keys(CHOICES[key])[0];
const usual = { ...chosen };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(chosen, usual);
  for (const key in CHOICES) if (Object.hasOwn(CHOICES[key], given.get(key) ?? "")) chosen[key] = given.get(key);
  if (COLUMNS.includes(given.get("sort"))) chosen.sort = given.get("sort");
  chosen.asc = given.get("asc") === "1";
  chosen.if = given.get("if") ?? "";
}

function writeAddress() {
  const out = new URLSearchParams();
  for (const key in usual) if (chosen[key] !== usual[key]) out.set(key, chosen[key] === true ? "1" : chosen[key]);
  history.replaceState(null, "", out.size ? `#${out}` : location.pathname + location.search);
}

function choose(changes) {
  const asks = ["if", "window", "side"].some(key => key in changes && changes[key] !== chosen[key]);
  Object.assign(chosen, changes);
  writeAddress();
  drawGroups();
  if (asks) refresh(); else draw();
}

function drawGroups() {
  for (const key in CHOICES) {
    const group = $(key);
    if (!group.children.length) {
      for (const [value, text] of Object.entries(CHOICES[key])) {
        const button = make("button", { type: "button", "data-value": value }, text);
        button.addEventListener("click", () => choose({ [key]: value }));
        group.append(button);
      }
    }
    for (const button of group.children) button.setAttribute("aria-pressed", button.dataset.value === chosen[key]);
  }
}

// ---- number formats: bits, powers of 1,000

const PREFIXES = ["", "k", "M", "G", "T", "P"];
function scale(value) {
  let step = 0;
  while (value >= 999.5 && step < PREFIXES.length - 1) { value /= 1000; step++; }
  const digits = value >= 99.95 || step === 0 && value >= 9.95 || value === 0 ? 0 : value >= 9.995 ? 1 : 2;
  return [value.toFixed(digits), PREFIXES[step]];
}
const withUnit = (value, unit) => { const [number, prefix] = scale(value); return `${number} ${prefix}${unit}`; };
const bits = rate => withUnit(rate * 8, "bit/s");
const packets = rate => withUnit(rate, "p/s");
const percent = part => !Number.isFinite(part) ? "" : part >= 0.0995 ? `${(part * 100).toFixed(0)} %` : part >= 0.00095 || part === 0 ? `${(part * 100).toFixed(1)} %` : "< 0.1 %";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const count = value => whole.format(value).replaceAll(",", "\u202f");
const bytes = value => withUnit(value, "B");
const clock = (seconds, long) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: long ? "2-digit" : undefined });
const day = seconds => new Date(seconds * 1000).toLocaleDateString([], { month: "short", day: "numeric", year: "numeric" });
function span(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}
function rateCell(rate, text = bits(rate)) {
  const at = text.lastIndexOf(" ");
  return [text.slice(0, at), make("span", { class: "unit" }, text.slice(at))];
}

const PROTOCOLS = { 0: "HOPOPT", 1: "ICMP", 2: "IGMP", 4: "IPv4 in IP", 6: "TCP", 17: "UDP", 33: "DCCP", 41: "IPv6 in IP", 46: "RSVP", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 88: "EIGRP", 89: "OSPF", 94: "IPIP", 103: "PIM", 112: "VRRP", 115: "L2TP", 132: "SCTP", 136: "UDP-Lite", 137: "MPLS in IP" };
const FAMILIES = ["IPv4", "IPv6", "Other"];
let regions = null;
try { regions = new Intl.DisplayNames(["en"], { type: "region" }); } catch { /* show the codes */ }

function networkName(asn) {
  if (asn < 0) return ["Other networks", ""];
  if (asn === 0) return ["Unknown network", ""];
  const name = view.asns[asn];
  return name === undefined ? [`AS${asn}`, ""] : [name, `AS${asn}`];
}
function regionName(code) {
  if (code === "") return "Unknown country";
  try { return /^[A-Z]{2}$/.test(code) && regions ? `${regions.of(code)} (${code})` : code; } catch { return code; }
}

// ---- requests

let view = null, timer = 0, failedSince = 0, asking = null;
let before = null;

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = asking = new AbortController();
  const limit = setTimeout(() => mine.abort(), 10000);
  try {
    for (let round = 0; round < 2; round++) {
      const shown = view?.interfaces.find(i => i.name === chosen.if);
      const query = new URLSearchParams({ ifindex: shown ? shown.ifindex : 0, window: chosen.window, side: chosen.side });
      const reply = await fetch(`page/v1.json?${query}`, { signal: mine.signal, cache: "no-store" });
      if (!reply.ok) throw new Error(`status ${reply.status}`);
      const next = await reply.json();
      if (next.schema !== 1) { location.reload(); return; }
      if (view && next.now !== view.now) before = view;
      view = next;
      // the index of a selected name is known only from the first answer, or may have changed
      const wanted = view.interfaces.find(i => i.name === chosen.if);
      if (!wanted || wanted.ifindex === view.shown) break;
    }
    failedSince = 0;
  } catch (error) {
    if (mine !== asking) return;
    failedSince ||= Date.now() / 1000;
  } finally {
    clearTimeout(limit);
  }
  if (mine !== asking) return;
  draw();
  if (!document.hidden) timer = setTimeout(refresh, 5000);
}

// ---- drawing

function draw() {
  drawStatus();
  if (!view) return;
  drawInterfaces();
  const shown = view.interfaces.find(i => i.ifindex === view.shown);
  $("shown").hidden = !shown;
  if (shown) {
    drawTitle(shown);
    for (const dir of ["ingress", "egress"]) drawChart(dir, shown);
    drawTable();
  }
  drawHealth();
  drawProblems();
  $("version").textContent = `rfm ${view.version}${view.revision ? ` (${view.revision})` : ""}`;
  const { lines, curves, bytes: held, evicted } = view.history;
  $("cost").textContent = `History since the start: ${lines} lines, ${curves} curves, ${bytes(held)}` + (evicted ? `, ${count(evicted)} lines evicted` : "");
}

function drawStatus() {
  const status = $("status");
  if (failedSince) {
    status.className = "bad";
    status.textContent = `No answer since ${clock(failedSince, true)}; trying again` + (view ? `. Below is what was known at ${clock(view.now, true)}.` : "");
    return;
  }
  if (!view) { status.textContent = "Asking…"; return; }
  const sampled = view.sample_rate === 1 ? "every packet sampled" : `1 in ${count(view.sample_rate)} packets sampled`;
  const losing = lost(view) - (before ? lost(before) : lost(view));
  const old = Date.now() / 1000 - view.now > 30;
  const problems = view.problems ?? [];
  status.className = problems.length || old ? "warn" : "good";
  status.textContent = [
    problems.length ? `${problems.length} ${problems.length === 1 ? "problem" : "problems"}` : "healthy",
    `${old ? "Last reading" : "As of"} ${clock(view.now, true)}`,
    `counting since ${view.now - view.since > 86400 ? day(view.since) + " " : ""}${clock(view.since)} (${span(view.now - view.since)})`,
    sampled,
    losing > 0 ? `losing ${packets(losing / (view.now - before.now))}` : lost(view) ? `${count(lost(view))} packets lost` : "nothing lost",
  ].join(" · ");
}

const rows = new Map();

function drawInterfaces() {
  const body = $("interfaces").tBodies[0];
  const present = new Set(view.interfaces.map(i => i.name));
  for (const [name, row] of rows) if (!present.has(name)) { row.node.remove(); rows.delete(name); }
  view.interfaces.forEach((port, place) => {
    let row = rows.get(port.name);
    if (!row) rows.set(port.name, row = interfaceRow(port.name));
    if (body.children[place] !== row.node) body.insertBefore(row.node, body.children[place] ?? null);
    updateRow(row, port);
  });
  drawSums();
  const stacked = view.interfaces.some(i => i.master || ["bond", "bridge", "vlan", "team", "macvlan"].includes(i.kind));
  $("interfaces-note").textContent = [
    view.ticks ? "" : "The first rates come after five seconds.",
    view.interfaces.length ? "" : "No interface is watched now.",
    view.left_out ? `${view.left_out} more interfaces are on metrics and not here.` : "",
    sums.size ? "Sums count a packet once in each direction: internal interfaces, and those above another one, are left out."
      : stacked ? "Interfaces are not added up: a packet that crosses a bridge or bond and its member counts on each. Roles of interfaces give sums." : "",
  ].filter(Boolean).join(" ");
}

// Sums by role, below the interfaces.
const ROLES = { "": "All", transit: "All transit", ix: "All exchanges", pni: "All private peers", customer: "All customers" };
const sums = new Map();

function drawSums() {
  const foot = $("interfaces").tFoot, summed = view.interfaces.filter(i => i.summed);
  for (const [role, name] of Object.entries(ROLES)) {
    const members = role ? summed.filter(i => i.role === role) : summed.some(i => i.role) ? summed : [];
    let row = sums.get(role);
    if (!members.length) { row?.node.remove(); sums.delete(role); continue; }
    if (!row) sums.set(role, row = interfaceRow(name, true));
    foot.append(row.node);
    updateRow(row, sumOfPorts(name, members));
  }
}

function sumOfPorts(name, members) {
  const total = of => members.reduce((sum, port) => sum + of(port), 0);
  const speed = members.every(port => port.speed) ? total(port => port.speed) : null;
  const sum = { name, alias: members.length === 1 ? "1 interface" : `${members.length} interfaces`, kind: "", master: "", attach: "", speed };
  for (const dir of ["ingress", "egress"]) {
    const watched = members.filter(port => port[dir]);
    if (!watched.length) { sum[dir] = null; continue; }
    sum[dir] = { spark: [] };
    for (const key of ["now", "mean", "max", "packets", "bytes_total", "packets_total"]) sum[dir][key] = watched.reduce((sum, port) => sum + port[dir][key], 0);
    const longest = Math.max(...watched.map(port => port[dir].spark.length));
    for (let age = longest; age > 0; age--) sum[dir].spark.push(watched.reduce((sum, port) => sum + (port[dir].spark.at(-age) ?? 0), 0));
  }
  return sum;
}

function interfaceRow(name, isSum) {
  const button = isSum ? make("span", { class: "sum" }, name) : make("button", { type: "button", class: "name" }, make("bdi", {}, name));
  const tags = make("span"), sub = make("div", { class: "sub" }), speed = make("td", { class: "n", "data-label": "Speed" });
  const node = make("tr", {}, make("td", {}, button, tags, sub), speed);
  const row = { node, tags, sub, speed };
  for (const dir of ["ingress", "egress"]) {
    const text = CHOICES.dir[dir];
    const rate = make("td", { class: "n rate", "data-label": text, "data-dir": dir });
    const path = make("path", { fill: dir === "ingress" ? "--in" : "--out" });
    const spark = make("svg", { class: "spark", viewBox: "0 0 120 26", preserveAspectRatio: "none", "aria-hidden": true }, path);
    const fill = make("i"), meter = make("span", { class: "meter" }, fill), part = make("span");
    node.append(rate, make("td", {}, spark), make("td", {}, make("div", { class: "share" }, meter, part)));
    row[dir] = { rate, path, fill, meter, part };
  }
  if (!isSum) node.addEventListener("click", () => choose({ if: name }));
  return row;
}

function updateRow(row, port) {
  row.node.setAttribute("aria-current", port.ifindex === view.shown);
  row.sub.textContent = port.alias;
  const role = port.role && (port.provider ? `${port.role}: ${port.provider}` : port.role);
  const tags = [role, ["ethernet", "veth", ""].includes(port.kind) ? "" : port.kind, port.master && `in ${port.master}`, port.attach === "none" && "not attached"];
  row.tags.replaceChildren(...tags.filter(Boolean).map(text => make("bdi", { class: "tag" }, text)));
  row.speed.textContent = port.speed ? bits(port.speed) : "";
  for (const dir of ["ingress", "egress"]) {
    const { rate, path, fill, meter, part } = row[dir], now = port[dir];
    rate.replaceChildren(...(now ? rateCell(now.now) : [make("span", { class: "faint" }, "–")]));
    rate.title = now ? `${packets(now.packets)}; mean ${bits(now.mean)}, at most ${bits(now.max)}; since the start ${bytes(now.bytes_total)}, ${count(now.packets_total)} packets` : "";
    if (now) { rate.dataset.bytes = now.bytes_total; rate.dataset.packets = now.packets_total; rate.dataset.now = now.now; }
    path.setAttribute("d", now ? sparkPath(now.spark) : "");
    const share = port.speed && now ? now.now / port.speed : NaN;
    meter.style.visibility = Number.isFinite(share) ? "" : "hidden";
    meter.className = `meter${share > 0.95 ? " bad" : share > 0.8 ? " warn" : ""}`;
    fill.style.width = `${Math.min(100, share * 100 || 0)}%`;
    part.textContent = percent(share);
  }
}

function sparkPath(points) {
  const most = Math.max(1, ...points), left = 120 - points.length;
  if (points.length < 2) return "";
  const line = points.map((value, i) => `${left + i + .5},${(25 - 24 * value / most).toFixed(1)}`).join("L");
  return `M${left + .5},26L${line}L119.5,26Z`;
}

function drawTitle(port) {
  const about = [port.alias, port.speed && bits(port.speed), port.kind, port.master && `in ${port.master}`];
  $("h-shown").replaceChildren(make("bdi", {}, port.name), make("small", {}, make("bdi", {}, about.filter(Boolean).join(" · "))));
  document.title = `${port.name} – rfm`;
}

// ---- curves

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

// ---- the table

const HEADS = { name: "Name", now: "Now", mean: "Mean", max: "Maximum", share: "Share", pps: "Packets/s", packets: "Packets", peer: "Neighbour" };
const SOME = 25;
// The number of rows drawn between two frames.
const AT_ONCE = 100;
let all = false;

// Returns the lines of the table from the JSON lines, each with key, name, note and values.
function lines() {
  const data = view[chosen.dir];
  if (!data) return [];
  const total = data.total ? data.total[5] : 0;
  return (data[chosen.tab] ?? []).map(row => {
    const [what, now, mean, max, pps, volume, packetCount, peer] = row;
    let name, note = "", colour;
    if (chosen.tab === "networks" || chosen.tab === "neighbours") {
      [name, note] = networkName(what);
      if (chosen.tab === "networks") colour = colourOf(chosen.dir, what);
    } else if (chosen.tab === "protocols") {
      [name, note] = what < 0 ? ["Other", ""] : PROTOCOLS[what] ? [PROTOCOLS[what], String(what)] : [`Protocol ${what}`, ""];
    } else if (chosen.tab === "countries") name = regionName(what);
    else name = what || "Unknown city";
    return { name, note, colour, now, mean, max, share: total ? volume / total : 0, pps, packets: packetCount, peer: peer ?? 0, volume };
  });
}

function drawTable() {
  const found = lines(), has = found.some(line => line.peer);
  const columns = COLUMNS.filter(c => c !== "peer" || has);
  drawHead();
  const wanted = $("find").value.trim().toLowerCase();
  const kept = wanted ? found.filter(l => `${l.name} ${l.note}`.toLowerCase().includes(wanted)) : found;
  const key = columns.includes(chosen.sort) ? chosen.sort : "mean", sign = chosen.asc ? 1 : -1;
  kept.sort((a, b) => sign * (key === "name" ? a.name.localeCompare(b.name) : a[key] - b[key]) || b.mean - a.mean);
  $("table").classList.toggle("alone", !has);
  drawRows(all ? kept : kept.slice(0, SOME));
  $("more").hidden = kept.length <= SOME;
  $("more").textContent = all ? `Show the first ${SOME}` : `Show all ${count(kept.length)}`;
  drawTableNote(found, kept);
}

function drawHead() {
  const head = $("table").tHead;
  if (!head.rows.length) {
    head.append(make("tr", {}, ...COLUMNS.map(column => {
      const button = make("button", { type: "button" }, HEADS[column]);
      button.addEventListener("click", () => choose({ sort: column, asc: chosen.sort === column ? !chosen.asc : column === "name" }));
      return make("th", { scope: "col", class: classOf(column), "data-column": column }, button);
    })));
  }
  for (const cell of head.rows[0].cells) {
    if (cell.dataset.column === chosen.sort) cell.setAttribute("aria-sort", chosen.asc ? "ascending" : "descending");
    else cell.removeAttribute("aria-sort");
  }
}

const classOf = column => column === "name" ? "" : column === "packets" || column === "pps" ? "n wide" : `n c-${column}`;

// Rows are created once and then reused; a thousand of them are drawn in pieces, so that the page
// stays responsive.
const pool = [];
let drawing = 0;
function drawRows(lines) {
  const body = $("table").tBodies[0], mine = ++drawing;
  while (body.rows.length > lines.length) body.lastChild.remove();
  const piece = from => {
    if (mine !== drawing) return;
    const to = Math.min(from + AT_ONCE, lines.length);
    for (let i = from; i < to; i++) {
      const row = pool[i] ??= tableRow();
      if (i >= body.rows.length) body.append(row.node);
      fillRow(row, lines[i]);
    }
    if (to < lines.length) requestAnimationFrame(() => piece(to));
  };
  piece(0);
}

function tableRow() {
  const dot = make("i", { class: "dot" }), name = make("bdi"), note = make("span", { class: "as" });
  const node = make("tr", {}, make("td", {}, dot, name, note)), row = { node, dot, name, note };
  for (const column of COLUMNS.slice(1)) {
    const cell = make("td", { class: classOf(column) }), text = make("bdi"), unit = make("span", { class: "unit" });
    cell.append(text, unit);
    node.append(cell);
    row[column] = { cell, text, unit };
  }
  return row;
}

// An estimate from fewer packets may be wrong by a fifth or more.
const ENOUGH = 100;
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };

function fillRow(row, line) {
  const rate = view.sample_rate;
  const fewNow = rate > 1 && line.pps > 0 && line.pps * view.tick_seconds / rate < ENOUGH, few = rate > 1 && line.packets / rate < ENOUGH;
  row.dot.style.background = line.colour ? `var(${line.colour})` : "transparent";
  setText(row.name, line.name);
  setText(row.note, line.note);
  const put = (column, figure, isFew) => {
    const { cell, text, unit } = row[column], at = column === "packets" || column === "peer" ? figure.length : figure.lastIndexOf(" ");
    setText(text, (isFew ? "~\u2009" : "") + figure.slice(0, at));
    setText(unit, figure.slice(at));
    cell.classList.toggle("few", isFew);
    cell.title = isFew ? "Fewer than 100 samples" : "";
  };
  put("now", bits(line.now), fewNow);
  put("mean", bits(line.mean), few);
  put("max", bits(line.max), few);
  put("share", percent(line.share), few);
  put("pps", packets(line.pps), fewNow);
  put("packets", count(line.packets), few);
  put("peer", line.peer ? networkName(line.peer)[0] : "", false);
  row.node.dataset.bytes = line.volume;
  row.node.dataset.packets = line.packets;
}

function drawTableNote(found, kept) {
  const data = view[chosen.dir], back = span(view.covered);
  const ends = { ingress: ["where packets come from", "where packets go"], egress: ["where packets go", "where packets come from"] };
  const end = ends[chosen.dir][chosen.side === "far" ? 0 : 1];
  $("table-note").textContent = [
    !data ? "This direction is not watched." : found.length ? kept.length ? `Mean, maximum, share and packets over the last ${back}.` : "Nothing matches the filter."
      : chosen.tab === "protocols" || chosen.tab === "networks" ? "No flow has been seen in this time."
      : "Nothing is known of these: the flow series lack the label, or no database or BGP session tells.",
    chosen.tab !== "protocols" && found.length ? `This is ${end}: the network that originates the address, whoever carries the packet.` : "",
    data && chosen.tab === "networks" && data.networks_total > found.length ? `The first ${count(found.length)} of ${count(data.networks_total)} networks.` : "",
    view.sample_rate > 1 && found.length ? "~ rests on fewer than 100 samples." : "",
  ].filter(Boolean).join(" ");
}

// ---- light and dark

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
let theme = "auto";
try { theme = localStorage.getItem("rfm-theme") ?? "auto"; } catch { /* the theme is not stored */ }
if (!Object.hasOwn(THEMES, theme)) theme = "auto";
const dark = matchMedia("(prefers-color-scheme: dark)");
function applyTheme() {
  document.documentElement.dataset.theme = theme === "auto" ? dark.matches ? "dark" : "light" : theme;
  $("theme").textContent = THEMES[theme];
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
}
dark.addEventListener("change", applyTheme);
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  theme = names[(names.indexOf(theme) + 1) % names.length];
  try { localStorage.setItem("rfm-theme", theme); } catch { /* the theme is not stored */ }
  applyTheme();
});

// ---- start

$("host").textContent = location.host;
$("find").addEventListener("input", () => { if (view) drawTable(); });
$("more").addEventListener("click", () => { all = !all; drawTable(); });
addEventListener("hashchange", () => { readAddress(); drawGroups(); refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
let width = 0;
new ResizeObserver(() => { if (view && innerWidth !== width) { width = innerWidth; draw(); } }).observe(document.body);
applyTheme();
readAddress();
drawGroups();
refresh();
