// Requests to the history on disk, and its lines and curves.

const past = { data: null, earlier: null, key: "", until: 0, oldest: Infinity, error: "" };
const STORED_TABLES = { networks: "asn", hosts: "host", prefixes: "prefix", services: "service", neighbours: "peer_asn", countries: "country", protocols: "protocol" };
const SHIFTS = { day: 86400, week: 604800 };

// Returns the interfaces of the charts.
function chosenInterfaces() {
  const ports = view.shows_uplinks ? view.interfaces.filter(port => view.uplinks.includes(port.ifindex)) : view.interfaces.filter(port => port.ifindex === view.shown);
  return ports.map(port => port.name);
}

// The history has hosts of both sides; everything else is of the far side.
const storedSide = () => ["hosts", "prefixes"].includes(chosen.tab) ? chosen.side : "far";

// Requests what the charts need and the page does not have.
async function refreshPast(signal) {
  if (!view?.stored || !view.now || !chosenInterfaces().length) return;
  const query = new URLSearchParams({ points: "packed" });
  for (const name of chosenInterfaces()) query.append("interface", name);
  if (inPackets()) query.set("unit", "packets");
  const live = new URLSearchParams(query);
  for (const filter of chosen.filters) query.append("filter", filter);
  const total = isStored() ? query : live, all = new URLSearchParams(total);
  // a day of which the agent has a part may be in the history
  if (isStored() || chosen.window === "day" && view.now - view.since < 82800) {
    all.set("stack", isFiltered() ? "none" : inPackets() ? "family" : chosen.stack);
    all.set("side", storedSide());
    if (STORED_TABLES[chosen.tab]) all.set("by", STORED_TABLES[chosen.tab]);
  }
  const [from, to] = periodShown(), shift = SHIFTS[chosen.compare], key = `${all} ${isZoomed() ? `${from} ${to}` : chosen.window} ${shift}`;
  if (key === past.key && performance.now() < past.until) return;
  try {
    const [data, earlier] = await Promise.all([
      requestPast(all, from, to, signal),
      shift && to - from <= shift ? requestPast(total, from - shift, to - shift, signal) : null,
    ]);
    data.interfaces = chosenInterfaces().join();
    Object.assign(past, { data, earlier, key, error: "", oldest: data.ingress || data.egress ? data.from : Infinity });
    past.shift = shift;
  } catch (error) {
    if (signal.aborted) throw error;
    Object.assign(past, { data: null, earlier: null, key: "", error: error.message });
  }
  // the history gets new rows once a minute
  past.until = performance.now() + (to - from > 172800 ? 300000 : 60000);
}

async function requestPast(query, from, to, signal) {
  const source = new URL(`page/v2.json?${query}&from=${from}&to=${to}`, document.baseURI);
  source.username = source.password = "";
  const reply = await fetch(source, { signal, cache: "no-store" });
  const data = await reply.json();
  if (!reply.ok) throw new Error(data.error);
  for (const part of [data.ingress, data.egress]) {
    if (!part) continue;
    part.total = unpack(part.total);
    part.rest = unpack(part.rest);
    part.families = part.families.map(unpack);
    for (const curve of part.curves) curve[1] = unpack(curve[1]);
  }
  return data;
}

function storedLayers(dir) {
  const data = stored()[dir];
  if (isFiltered()) {
    const { kind, value } = parseFilter(chosen.filters[0]);
    const style = kind === "asn" || kind === "peer" ? networkStyle(Number(value)) : { colour: `var(${dir === "ingress" ? "--in" : "--out"})` };
    return [{ key: "filtered", name: chosen.filters.length > 1 ? "With the filters" : filterName(chosen.filters[0])[1], ...style, points: data.total }];
  }
  return data.families.length ? familyLayers(data.families) : networkLayers(data.curves, data.rest, "far");
}

function storedLines() {
  const data = stored()?.[chosen.dir];
  return (data?.rows ?? []).map(([value, volume, packetCount, max, asn, country]) => {
    const total = inPackets() ? packetCount ?? NaN : volume;
    return { ...nameOf(chosen.tab, value, storedSide(), [asn, country]), mean: total / data.covered, max: inPackets() ? NaN : max, share: volume / data.bytes, volume, packets: packetCount ?? undefined };
  });
}

function storedFigures(dir) {
  const data = stored()?.[dir];
  const mean = (inPackets() ? data?.packets ?? NaN : data?.bytes) / data?.covered;
  return { now: NaN, mean, p95: data?.p95 ?? null, max: inPackets() ? NaN : data?.max ?? (data ? Math.max(...data.total) : NaN), volume: data?.bytes ?? NaN, families: [NaN, NaN] };
}

function storedNote() {
  const data = stored();
  if (chosen.tab === "cities") return "Cities are not stored.";
  if (!data) return past.error ? "" : "Reading the history…";
  if (!data[chosen.dir]) return "No data of this direction.";
  const isOfLists = isFiltered() || LISTS.includes(chosen.tab) && chosen.tab !== "services";
  const left = data[chosen.dir].rest_bytes / data[chosen.dir].bytes;
  return [
    `Mean, share and volume from ${moment(data.from)} to ${moment(data.to)}, in points of ${span(data.step)}.`,
    left > 0.0005 ? `${percent(left)} is in none of them.` : "",
    isOfLists ? "From the largest conversations of the last 2 weeks." : "",
    isOfLists && data.conversations_from - data.from > 900 ? `They begin ${moment(data.conversations_from)}.` : "",
    isOfLists && data.addresses === "prefix" ? "Addresses are stored as /24 and /48." : "",
    inPackets() ? "Only conversations have packets." : "",
  ].filter(Boolean).join(" ");
}
