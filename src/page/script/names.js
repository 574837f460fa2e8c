// Names of protocols, networks and countries.

const PROTOCOLS = { 0: "HOPOPT", 1: "ICMP", 2: "IGMP", 4: "IPv4 in IP", 6: "TCP", 17: "UDP", 33: "DCCP", 41: "IPv6 in IP", 46: "RSVP", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 88: "EIGRP", 89: "OSPF", 94: "IPIP", 103: "PIM", 112: "VRRP", 115: "L2TP", 132: "SCTP", 136: "UDP-Lite", 137: "MPLS in IP" };
const FAMILIES = ["IPv4", "IPv6", "Other"];
let regions = null;
try { regions = new Intl.DisplayNames(["en"], { type: "region" }); } catch { /* show the codes */ }

// The colour of a network is a function of its AS number, the same in every chart and on every day: one of 24
// hues in two lightnesses, plain or hatched. The style sheet sets lightness and saturation by theme.
function networkStyle(asn) {
  if (asn === 0) return { colour: "var(--unknown)" };
  if (asn < 0) return { colour: "var(--rest)" };
  const hash = Math.imul(asn, 0x9e3779b1) >>> 12;
  const hue = hash % 24 * 15, light = (hash >>> 8) % 2 ? "--light-a" : "--light-b";
  return { colour: `oklch(var(${light}) var(--chroma) ${hue})`, hatched: (hash >>> 12) % 2 === 1 };
}

// Returns name and note of a network; addresses without AS at the local end are those of local networks.
function networkName(asn, end = chosen.side) {
  if (asn < 0) return ["Other networks", ""];
  if (asn === 0) return end === "near" ? ["Local networks", "no AS number"] : ["Unknown network", ""];
  const name = view.asns[asn] ?? past.data?.asns[asn];
  return name === undefined ? [`AS${asn}`, ""] : [name, `AS${asn}`];
}
function neighborName(asn) {
  return asn > 0 ? networkName(asn) : [asn < 0 ? "Other neighbors" : "Unknown neighbor", ""];
}
// Returns name, note, colour and filter of a line of a table.
function nameOf(tab, value, end, about = []) {
  const kind = { networks: "asn", neighbours: "peer", countries: "country", cities: "city", protocols: "protocol", hosts: "host", prefixes: "host", services: "service" }[tab];
  const line = { name: value, note: "", filter: value === -1 || value === "other" ? undefined : `${kind === "service" ? "far" : end}.${kind}.${value}` };
  const [asn, country, net] = about;
  switch (kind) {
    case "asn": [line.name, line.note] = networkName(value, end); Object.assign(line, networkStyle(value)); break;
    case "peer": [line.name, line.note] = neighborName(value); break;
    case "country": line.name = regionName(value); break;
    case "city": line.name ||= "Unknown city"; break;
    case "protocol": [line.name, line.note] = value < 0 ? ["Other", ""] : PROTOCOLS[value] ? [PROTOCOLS[value], String(value)] : [`Protocol ${value}`, ""]; break;
    case "service": [line.name, line.note] = serviceName(value); break;
    default:
      line.note = [net, asn ? networkName(asn).filter(Boolean).join(" ") : "", country].filter(Boolean).join(" · ");
      if (asn) Object.assign(line, networkStyle(asn));
  }
  return line;
}
function regionName(code) {
  if (code === "") return "Unknown country";
  try { return /^[A-Z]{2}$/.test(code) && regions ? `${regions.of(code)} (${code})` : code; } catch { return code; }
}
