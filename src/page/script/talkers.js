// The traffic that the filters select, and the lists of hosts, prefixes and services.

const SERVICES = {
  "6/20": "FTP data", "6/21": "FTP", "6/22": "SSH", "6/23": "Telnet", "6/25": "SMTP", "6/53": "DNS", "17/53": "DNS", "17/67": "DHCP", "6/80": "HTTP",
  "17/123": "NTP", "6/143": "IMAP", "17/161": "SNMP", "6/179": "BGP", "6/443": "HTTPS", "17/443": "QUIC", "6/445": "SMB", "6/465": "SMTPS", "17/500": "IKE",
  "17/514": "Syslog", "6/587": "SMTP", "6/853": "DNS over TLS", "6/873": "rsync", "6/993": "IMAPS", "17/1194": "OpenVPN", "6/1883": "MQTT", "6/2049": "NFS",
  "6/3306": "MySQL", "17/3478": "STUN", "6/3389": "RDP", "17/4500": "IPsec", "17/4789": "VXLAN", "6/5060": "SIP", "17/5060": "SIP", "17/5353": "mDNS",
  "6/5432": "PostgreSQL", "6/8080": "HTTP", "6/8443": "HTTPS", "6/9100": "Printer", "17/51820": "WireGuard",
};

// Returns name and note of a service, such as "6/443".
function serviceName(value) {
  const [protocol, port] = value.split("/"), name = PROTOCOLS[protocol] ?? `Protocol ${protocol}`;
  return [port === "0" ? name : `${name} ${port}`, SERVICES[value] ?? ""];
}

const isFiltered = () => chosen.filters.length > 0;
// The list has arrived, and it is the one that the reader wants.
const talkers = () => view.talkers?.list === wantedList() ? view.talkers : null;
// Seconds between two points of the curves shown.
const pointStep = () => isStored() ? stored()?.step ?? 60 : isFiltered() && !view.filtered ? view.talkers?.step ?? 5 : view.step;

function talkerLines() {
  const found = talkers();
  if (!found) return [];
  const dir = chosen.dir === "ingress" ? 0 : 1, total = found.total[dir][4];
  return found.rows.map(row => {
    const [value, asn, country, net] = row, [now, mean, max, pps, volume, packetCount] = row[4 + dir];
    return { ...nameOf(found.list, found.list === "networks" ? asn : value, chosen.side, [asn, country, net]), now, mean, max, share: total ? volume / total : 0, pps, packets: packetCount, peer: 0, volume };
  }).filter(line => line.volume > 0);
}

// Returns the figures of the filtered traffic of a direction: those of the history, or of the minutes since the first look.
function filteredFigures(dir) {
  if (isStored()) return storedFigures(dir);
  const at = dir === "ingress" ? 0 : 1, recent = view.talkers?.total[at];
  const points = filteredLayers(dir).map(layer => layer.points);
  const length = Math.max(0, ...points.map(list => list.length));
  const sums = Array.from({ length }, (_, i) => points.reduce((sum, list) => sum + (list[i - length + list.length] ?? 0), 0));
  const past = view.filtered?.[at].total;
  const families = (view.talkers?.curves[at] ?? []).map(list => list.slice(-12).reduce((sum, n) => sum + n, 0) / Math.max(1, Math.min(12, list.length)));
  return {
    now: past ? past[1] : recent?.[0] ?? 0,
    mean: past ? past[2] : recent?.[1] ?? 0,
    max: Math.max(...sums, past ? past[3] : recent?.[2] ?? 0),
    p95: sums.length ? sums.slice().sort((a, b) => a - b)[Math.max(0, Math.ceil(sums.length * .95) - 1)] : null,
    points: sums.length, volume: past ? past[5] : recent?.[4] ?? 0, families,
  };
}

function filteredLayers(dir) {
  if (isStored()) return storedLayers(dir);
  const at = dir === "ingress" ? 0 : 1;
  if (view.filtered) {
    const { kind, value } = parseFilter(chosen.filters[0]);
    const style = kind === "asn" || kind === "peer" ? networkStyle(Number(value)) : { colour: `var(${dir === "ingress" ? "--in" : "--out"})` };
    const past = view.filtered[at].curve;
    if (past.length) return [{ key: "filtered", name: filterName(chosen.filters[0])[1], ...style, points: past }];
  }
  return (view.talkers?.curves[at] ?? []).map((points, i) => ({ key: FAMILIES[i], name: FAMILIES[i], colour: `var(--c${i})`, points }))
    .filter(layer => layer.name === "IPv4" || layer.points.some(Boolean));
}

const FIGURE_HEADS = ["Now", "Mean", "95th percentile", "Maximum", "Volume", "IPv4 now", "IPv6 now"];

function drawFiltered() {
  $("filtered").hidden = !isFiltered();
  $("stack").hidden = isFiltered();
  if (!isFiltered()) return;
  const row = dir => {
    const figures = filteredFigures(dir);
    const cells = [bits(figures.now), bits(figures.mean), figures.p95 === null ? "–" : bits(figures.p95), bits(figures.max), Number.isFinite(figures.volume) ? bytes(figures.volume) : "–", ...[0, 1].map(i => bits(figures.families[i] ?? 0))];
    return make("tr", {}, make("th", { scope: "row" }, CHOICES.dir[dir]), ...cells.map((text, i) => make("td", { class: "n", "data-label": FIGURE_HEADS[i] }, text)));
  };
  const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, make("span", { class: "sr" }, "Direction")), ...FIGURE_HEADS.map(text => make("th", { scope: "col", class: "n" }, text))));
  $("figures").replaceChildren(head, make("tbody", {}, row("ingress"), row("egress")));
  const { points } = filteredFigures("ingress"), back = span(Math.max(points, 1) * pointStep());
  const past = view.filtered?.some(({ total }) => total);
  $("filtered-note").textContent = isStored() ? "" : !view.talkers ? "Counting starts with this look." : past
    ? `Mean, maximum and volume over the last ${span(view.covered)}; the curve and its percentile cover ${back}.`
    : `Mean and volume over the last ${span(view.talkers.covered)}. Hosts, services and combinations are counted only while somebody looks: the curve covers ${points ? back : "nothing yet"}.`;
  drawLinks();
}

// Links to public sources about the networks and addresses of the filters; the page itself loads nothing from them.
function drawLinks() {
  const links = chosen.filters.flatMap(text => {
    const { kind, value } = parseFilter(text);
    if ((kind === "asn" || kind === "peer") && Number(value) > 0) {
      return [["bgp.tools", `https://bgp.tools/as/${value}`], ["PeeringDB", `https://www.peeringdb.com/asn/${value}`], ["RIPEstat", `https://stat.ripe.net/AS${value}`]].map(([name, url]) => [`AS${value} on ${name}`, url]);
    }
    if (kind !== "host") return [];
    return [[`${value} on bgp.tools`, `https://bgp.tools/prefix/${value}`], [`${value} on RIPEstat`, `https://stat.ripe.net/${value}`]];
  });
  const addresses = chosen.filters.map(parseFilter).filter(({ kind }) => kind === "host").map(({ value }) => value);
  const key = JSON.stringify([addresses, links]);
  // drawn only when they change, so that a refresh does not move the focus
  if ($("links").dataset.key === key) return;
  $("links").dataset.key = key;
  $("links").replaceChildren(
    ...addresses.map(address => make("li", {}, copyButton(`Copy ${address}`, () => address))),
    ...links.map(([name, url]) => make("li", {}, make("a", { href: url, rel: "noreferrer" }, name))));
}

function talkersNote() {
  const found = talkers();
  if (!found) return view.addresses === "none" && chosen.tab !== "services" && chosen.tab !== "networks" ? "The configuration shows no addresses (agent.privacy.addresses)." : "Reading the flow table…";
  const kind = { hosts: "hosts", prefixes: "prefixes (/24 and /48)", services: "services (by the lower port)", networks: "networks" }[found.list];
  return [
    `The ${kind} with the most bytes of the last ${span(found.covered)}, counted only while somebody looks.`,
    found.missing_at_most ? `Of others, each had at most ${bytes(found.missing_at_most)}.` : "",
    view.addresses === "prefix" && found.list === "prefixes" ? "The configuration shows no complete addresses." : "",
    view.sample_rate > 1 && found.rows.length ? "~ rests on fewer than 100 samples." : "",
  ].filter(Boolean).join(" ");
}
