// The table of interfaces and the sums by role.

const rows = new Map();

function drawInterfaces() {
  const body = $("interfaces").tBodies[0];
  const ports = sortedPorts(), present = new Set(ports.map(i => i.name));
  for (const [name, row] of rows) if (!present.has(name)) { row.node.remove(); rows.delete(name); }
  ports.forEach((port, place) => {
    let row = rows.get(port.name);
    if (!row) rows.set(port.name, row = interfaceRow(port.name));
    if (body.children[place] !== row.node) body.insertBefore(row.node, body.children[place] ?? null);
    updateRow(row, port);
  });
  drawSums();
  // on a phone few interfaces need no box of their own
  $("interfaces").parentElement.classList.toggle("many", view.interfaces.length >= FILTER_FROM);
  $("uplinks").hidden = view.uplinks.length < 2;
  $("uplinks").setAttribute("aria-pressed", view.shows_uplinks);
  const stacked = view.interfaces.some(i => i.master || ["bond", "bridge", "vlan", "team", "macvlan"].includes(i.kind));
  $("interfaces-note").textContent = [
    view.ticks ? "" : "The first rates follow in a few seconds.",
    (view.problems ?? []).some(({ kind }) => kind === "starting") ? "More interfaces are being attached." : view.interfaces.length ? "" : "No interface is watched now.",
    view.left_out ? `${view.left_out} more interfaces are on metrics and not here.` : "",
    sums.size ? "Sums count a packet once in each direction: internal interfaces, and those above another one, are left out."
      : stacked ? "Interfaces are not added up: a packet that crosses a bridge or bond and its member counts on each. Roles of interfaces give sums." : "",
  ].filter(Boolean).join(" ");
}

// The order and the filter of the interfaces; in the order of the kernel until the reader selects a column.
const FILTER_FROM = 9;
let portOrder = "", portsAscending = false;
const PORT_KEYS = { speed: port => port.speed ?? 0, ingress: port => port.ingress?.now ?? -1, egress: port => port.egress?.now ?? -1 };

function sortedPorts() {
  const wanted = $("find-interface").value.trim().toLowerCase();
  $("find-interface-label").hidden = view.interfaces.length < FILTER_FROM && !wanted;
  const ports = view.interfaces.filter(port => `${port.name} ${port.alias} ${port.role} ${port.provider} ${port.kind}`.toLowerCase().includes(wanted));
  const sign = portsAscending ? 1 : -1, key = PORT_KEYS[portOrder];
  if (key) ports.sort((a, b) => sign * (key(a) - key(b)));
  else if (portOrder) ports.sort((a, b) => sign * a.name.localeCompare(b.name, "en", { numeric: true }));
  for (const head of $("interfaces").tHead.rows[0].cells) {
    if (head.dataset.sort && head.dataset.sort === portOrder) head.setAttribute("aria-sort", portsAscending ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  return ports;
}

function sortPorts(by) {
  [portOrder, portsAscending] = [by, portOrder === by ? !portsAscending : by === "name"];
  drawInterfaces();
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
  const sum = { name, alias: plural(members.length, "interface"), kind: "", master: "", attach: "", speed };
  for (const dir of ["ingress", "egress"]) {
    const watched = members.filter(port => port[dir]);
    if (!watched.length) { sum[dir] = null; continue; }
    sum[dir] = { spark: [] };
    for (const key of ["now", "mean", "max", "packets", "packets_mean", "bytes_total", "packets_total"]) sum[dir][key] = watched.reduce((sum, port) => sum + port[dir][key], 0);
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
    const path = make("path", { fill: dir === "ingress" ? "var(--in)" : "var(--out)" });
    const spark = make("svg", { class: "spark", viewBox: "0 0 120 26", preserveAspectRatio: "none", "aria-hidden": true }, path);
    const fill = make("i"), meter = make("span", { class: "meter" }, fill), part = make("span");
    node.append(rate, make("td", {}, spark), make("td", {}, make("div", { class: "share" }, meter, part)));
    row[dir] = { rate, path, fill, meter, part };
  }
  if (!isSum) node.addEventListener("click", () => choose({ if: name, uplinks: false }));
  return row;
}

// Returns the current rate in the unit of the reader; the interfaces have bytes and packets.
const rateNow = now => inPackets() ? now.packets : now.now;

function updateRow(row, port) {
  row.node.setAttribute("aria-current", port.ifindex === view.shown);
  row.sub.textContent = port.alias;
  const role = port.role && (port.provider ? `${port.role}: ${port.provider}` : port.role);
  const tags = [role, ["ethernet", "veth", ""].includes(port.kind) ? "" : port.kind, port.master && `in ${port.master}`, port.attach === "none" && "not attached"];
  row.tags.replaceChildren(...tags.filter(Boolean).map(text => make("bdi", { class: "tag" }, text)));
  row.speed.textContent = port.speed ? byteRate(port.speed) : "";
  for (const dir of ["ingress", "egress"]) {
    const { rate, path, fill, meter, part } = row[dir], now = port[dir];
    rate.replaceChildren(...(now ? rateCell(rateNow(now)) : [make("span", { class: "faint" }, "–")]));
    rate.title = now ? `${packets(now.packets)}; mean ${byteRate(now.mean)}, at most ${byteRate(now.max)}; since the start ${bytes(now.bytes_total)}, ${count(now.packets_total)} packets` : "";
    if (now) { rate.dataset.bytes = now.bytes_total; rate.dataset.packets = now.packets_total; rate.dataset.now = now.now; }
    path.setAttribute("d", now ? sparkPath(now.spark) : "");
    const share = port.speed && now ? now.now / port.speed : NaN;
    meter.style.visibility = Number.isFinite(share) ? "" : "hidden";
    meter.className = `meter${share > 0.95 ? " bad" : share > 0.8 ? " warn" : ""}`;
    fill.style.width = `${Math.min(100, share * 100 || 0)}%`;
    part.textContent = percent(share);
  }
}

// Draws the points over the whole width, so that a new agent fills it.
function sparkPath(points) {
  if (points.length < 2) return "";
  const most = Math.max(1, ...points), step = 120 / (points.length - 1);
  const line = points.map((value, i) => `${(i * step).toFixed(1)},${(25 - 24 * value / most).toFixed(1)}`).join("L");
  return `M0,26L${line}L120,26Z`;
}
