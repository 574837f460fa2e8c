// Joins the curves that the page has and the new points of an answer.

// The tables of which an answer has only the one that is shown.
const TABLES = ["networks", "neighbours", "countries", "cities", "protocols"];
// The options for which the page has the curves, without the times of their points.
let curvesOf = "";

// Adds to the request which points the page has.
function askForNewest(query, options) {
  if (!view?.ticks || curvesOf !== options) return;
  query.set("after", view.ticks);
  if (view.talkers) query.set("seen", view.talkers.end);
}

// Replaces packed curves (src/page/points.rs) by numbers.
function unpackCurves(next) {
  const each = list => list.map(unpack);
  for (const port of next.interfaces) for (const dir of ["ingress", "egress"]) if (port[dir]) port[dir].spark = unpack(port[dir].spark);
  for (const dir of ["ingress", "egress"]) {
    const data = next[dir];
    if (!data) continue;
    data.families = each(data.families);
    data.rest = unpack(data.rest);
    for (const curve of data.curves) curve[1] = unpack(curve[1]);
  }
  next.filtered?.forEach(part => { part.curve = unpack(part.curve); });
  if (next.talkers) next.talkers.curves = next.talkers.curves.map(each);
}

function unpack(text) {
  const points = [];
  let level = 0;
  for (const [part, change] of text.matchAll(/!(-?\d+)\x20|[^]/g)) {
    const code = part.charCodeAt(0);
    level += change === undefined ? code - (code > 92 ? 1 : 0) - 79 : Number(change);
    points.push(Math.round(1.01 ** level) - 1);
  }
  return points;
}

// Returns whether the answer is complete after the points of the previous one were added.
function mergeCurves(old, next) {
  const join = (before, after) => (before ?? []).concat(after).slice(-SLOTS);
  if (next.talkers?.newest && old?.talkers) {
    next.talkers.curves = next.talkers.curves.map((families, i) => families.map((points, j) => join(old.talkers.curves[i][j], points)));
  }
  if (next.after === null) return true;
  // another agent, or another view than the one asked for
  if (!old || old.since !== next.since || old.ticks !== next.after || old.shown !== next.shown) return false;
  for (const dir of ["ingress", "egress"]) {
    const before = old[dir], after = next[dir];
    if (!after) continue;
    if (!before) return false;
    for (const table of TABLES) after[table] ??= before[table];
    after.families = after.families.map((points, i) => join(before.families[i], points));
    after.rest = join(before.rest, after.rest);
    const known = new Map(before.curves);
    // the rest is that of the same curves
    if (after.curves.length !== known.size || after.curves.some(([asn]) => !known.has(asn))) return false;
    for (const curve of after.curves) curve[1] = join(known.get(curve[0]), curve[1]);
  }
  next.asns = { ...old.asns, ...next.asns };
  if (next.filtered && !old.filtered) return false;
  next.filtered?.forEach((part, i) => { part.curve = join(old.filtered[i].curve, part.curve); });
  return mergeSparks(old, next);
}

// A point of a small curve is the mean of so many ticks.
const SPARK_TICKS = 6, SPARK_POINTS = 120;

function mergeSparks(old, next) {
  const ports = new Map(old.interfaces.map(port => [port.ifindex, port]));
  const every = next.window === "day" ? 24 * SPARK_TICKS : SPARK_TICKS;
  const turns = Math.floor(next.ticks / every) > Math.floor(old.ticks / every);
  for (const port of next.interfaces) {
    const before = ports.get(port.ifindex);
    if (!before) return false;
    for (const dir of ["ingress", "egress"]) {
      if (!port[dir]) continue;
      if (!before[dir]) return false;
      port[dir].spark = before[dir].spark;
      if (turns) port[dir].spark = [...port[dir].spark, Math.trunc(inPackets() ? port[dir].packets : port[dir].now)].slice(-SPARK_POINTS);
    }
  }
  return true;
}
