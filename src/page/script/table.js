// The table of networks, neighbors, places and protocols.

const HEADS = { name: "Name", now: "Now", mean: "Mean", max: "Maximum", share: "Share", pps: "Packets/s", packets: "Packets", peer: "Neighbor", volume: "Volume" };
const SOME = 25;
// The number of rows drawn between two frames.
const AT_ONCE = 100;
let all = false;
// Whether all lines are needed for the CSV file.
let saves = false;

// The columns by which rfm sorts; for another order, a search or a file, the page needs all lines.
const SORTED_BY_RFM = ["now", "mean", "max", "share", "pps", "packets"];
const needsAllLines = () => all || saves || $("find").value.trim() !== "" || !SORTED_BY_RFM.includes(chosen.sort);

// Adds to the request which lines the page shows.
function askForLines(query) {
  // beside a list of talkers, the smallest table
  query.set("table", TABLES.includes(chosen.tab) && !isFiltered() ? chosen.tab : "protocols");
  query.set("dir", chosen.dir);
  if (needsAllLines()) return;
  query.set("rows", SOME);
  query.set("sort", chosen.sort);
  if (chosen.asc) query.set("asc", 1);
}

// Returns how many lines the table has, with those that the answer does not have.
function linesTotal() {
  if (isStored()) return stored()?.[chosen.dir]?.lines ?? 0;
  if (wantedList()) return talkers()?.lines ?? 0;
  return view[chosen.dir]?.[chosen.tab] ? view[chosen.dir].lines : 0;
}

// Draws the table, then requests the lines that are missing.
function showLines() {
  if (!view) return;
  drawTable();
  if (needsAllLines() && linesTotal() > lines().length) refresh();
}

// Returns the lines of the table from the JSON lines, each with key, name, note and values.
function lines() {
  if (isStored()) return storedLines();
  if (wantedList()) return talkerLines();
  const data = view[chosen.dir];
  if (!data) return [];
  const total = data.total ? data.total[5] : 0;
  return (data[chosen.tab] ?? []).map(row => {
    const [what, now, mean, max, pps, volume, packetCount, peer] = row;
    return { ...nameOf(chosen.tab, what, chosen.side), now, mean, max, share: total ? volume / total : 0, pps, packets: packetCount, peer: peer ?? 0, volume };
  });
}

// The lines of the table after filter and sort.
let drawn = [];

function drawTable() {
  const found = lines(), total = Math.max(linesTotal(), found.length), has = found.some(line => line.peer);
  const columns = isStored() ? ["name", "mean", "max", "share", "volume"] : COLUMNS.filter(c => c !== "volume" && (c !== "peer" || has));
  drawHead();
  const wanted = $("find").value.trim().toLowerCase();
  const kept = wanted ? found.filter(l => `${l.name} ${l.note}`.toLowerCase().includes(wanted)) : found;
  const key = columns.includes(chosen.sort) ? chosen.sort : "mean", sign = chosen.asc ? 1 : -1;
  kept.sort((a, b) => sign * (key === "name" ? a.name.localeCompare(b.name) : a[key] - b[key]) || b.mean - a.mean);
  $("table").classList.toggle("alone", !has);
  $("table").classList.toggle("stored", isStored());
  drawn = kept;
  $("csv").hidden = $("copy").hidden = !kept.length;
  $("csv").setAttribute("href", "#");
  $("csv").setAttribute("download", `rfm-${shownPort()?.name ?? ""}-${chosen.tab}-${chosen.dir}.csv`);
  drawRows(all ? kept : kept.slice(0, SOME));
  const more = wanted ? kept.length : total;
  $("more").hidden = more <= SOME;
  $("more").textContent = all ? `Show the first ${SOME}` : `Show all ${count(more)}`;
  drawTableNote(found, kept);
}

// Saves all lines; those that the answer does not have are requested first.
async function saveTable(event) {
  if (linesTotal() > lines().length && !saves) {
    event.preventDefault();
    saves = true;
    await refresh();
    // if the request failed, the file has the lines that are there
    $("csv").click();
    saves = false;
    return;
  }
  $("csv").href = tableAsCsv();
}

// Returns the table as a link to a CSV file (RFC 4180): rates in bytes per second, volumes in bytes and packets.
function tableAsCsv() {
  // a spreadsheet would evaluate a name that starts with one of these
  const safe = text => /^[=+@\t\r-]/.test(text) ? `'${text}` : text;
  const quote = text => `"${safe(text).replaceAll('"', '""')}"`;
  const rate = inPackets() ? "packets" : "bytes";
  const head = `name,as,now_${rate}_per_second,mean_${rate}_per_second,max_${rate}_per_second,share,packets_per_second,bytes,packets,neighbor`;
  const rows = drawn.map(l => [quote(l.name), quote(l.note), l.now ?? "", l.mean, l.max ?? "", l.share.toFixed(6), l.pps ?? "", l.volume, l.packets ?? "", quote(l.peer ? neighborName(l.peer).join(" ") : "")].join(","));
  return `data:text/csv;charset=utf-8,${encodeURIComponent([head, ...rows, ""].join("\r\n"))}`;
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
  const dot = make("i", { class: "dot" }), name = make("bdi"), link = make("button", { type: "button", class: "drill" }, name), note = make("span", { class: "as" });
  const node = make("tr", {}, make("td", {}, dot, link, note)), row = { node, dot, link, name, note, filter: undefined };
  link.addEventListener("click", () => { if (row.filter) addFilter(row.filter); });
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
  row.dot.style.backgroundColor = line.colour ?? "transparent";
  row.dot.classList.toggle("hatched", line.hatched === true);
  row.filter = line.filter;
  row.link.disabled = !line.filter || chosen.filters.includes(line.filter);
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
  put("max", bits(line.max ?? NaN), few);
  put("share", percent(line.share), few);
  put("pps", packets(line.pps), fewNow);
  put("packets", count(line.packets), few);
  put("volume", bytes(line.volume), false);
  put("peer", line.peer ? neighborName(line.peer)[0] : "", false);
  row.node.dataset.bytes = line.volume;
  row.node.dataset.packets = line.packets;
}

function drawTableNote(found, kept) {
  if (isStored()) {
    $("table-note").textContent = found.length && !kept.length ? "Nothing matches the filter." : storedNote();
    return;
  }
  if (wantedList()) {
    $("table-note").textContent = found.length && !kept.length ? "Nothing matches the filter." : talkersNote();
    return;
  }
  const data = view[chosen.dir], back = span(view.covered);
  const ends = { ingress: ["where packets come from", "where packets go"], egress: ["where packets go", "where packets come from"] };
  const end = ends[chosen.dir][chosen.side === "far" ? 0 : 1];
  $("table-note").textContent = [
    !data ? "This direction is not watched." : !data[chosen.tab] ? "Reading the table…"
      : !view.ticks ? "The first rates follow in a few seconds." : found.length ? kept.length ? `Mean, maximum, share and packets over the last ${back}.` : "Nothing matches the filter."
      : chosen.tab === "protocols" || chosen.tab === "networks" ? "No flow has been seen in this time."
      : "Nothing is known of these: the flow series lack the label, or no database or BGP session tells.",
    chosen.tab !== "protocols" && found.length ? `This is ${end}: the network that originates the address, whoever carries the packet.` : "",
    data && chosen.tab === "networks" && data.networks_total > linesTotal() ? `The first ${count(linesTotal())} of ${count(data.networks_total)} networks.` : "",
    view.sample_rate > 1 && found.length ? "~ rests on fewer than 100 samples." : "",
  ].filter(Boolean).join(" ");
}
