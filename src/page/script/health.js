// Health, from the families of /metrics about the agent itself.

const samples = (from, name) => from.figures?.[name] ?? [];
const figure = (name, from = view) => samples(from, name)[0]?.[1];
const lost = from => figure("rfm_collector_dropped_packets_total", from) ?? 0;
const grew = name => before ? (figure(name) ?? 0) - (figure(name, before) ?? 0) : 0;
const perLabel = (name, label) => samples(view, name).map(([labels, value]) => [labels[label] ?? "", value]);
const total = pairs => pairs.reduce((sum, [, value]) => sum + value, 0);
const sumOf = (name, from = view) => total(samples(from, name));
const list = pairs => pairs.map(([label, n]) => `${count(n)} ${label}`).join(", ");

function drawHealth() {
  const items = [sampling(), losses(), ...fills(), databases(), bmp(), rib(), firewall(), ipfix(), errors(), config(), processItem()];
  $("health").replaceChildren(...items.filter(Boolean).map(({ name, level, text, more = [], fill }) => {
    const item = make("div", { class: level }, make("dt", {}, name), make("dd", {}, make("bdi", {}, text)));
    if (fill !== undefined) {
      const bar = make("i");
      bar.style.width = `${Math.min(100, fill * 100)}%`;
      item.append(make("dd", {}, make("div", { class: `meter ${level ?? ""}` }, bar)));
    }
    more.filter(Boolean).forEach(line => item.append(make("dd", {}, make("bdi", {}, line))));
    return item;
  }));
}

function sampling() {
  const rate = figure("rfm_sample_rate"), k = figure("rfm_collector_overload_rate");
  const estimates = rate !== 1 || figure("rfm_collector_thinned_packets_total") > 0;
  return {
    name: "Sampling", level: k > 1 ? "warn" : undefined,
    text: (rate === 1 ? "Every packet" : `1 in ${count(rate)} packets`) + (k > 1 ? `, new flows 1 in ${count(rate * k)}` : ""),
    more: ["Interface figures are of every packet" + (estimates ? ", networks are estimates" : "")],
  };
}

function losses() {
  const packetsLost = lost(view), now = before ? packetsLost - lost(before) : 0;
  return {
    name: "Lost on the way to the flow table", level: now > 0 ? "bad" : packetsLost ? "warn" : undefined,
    text: packetsLost ? `${count(packetsLost)} packets` : "Nothing",
    more: [`${count(figure("rfm_collector_accounted_packets_total") ?? 0)} packets accounted`, now > 0 && `${count(now)} more since the last reading: raise ring_buf_size or sample_rate`],
  };
}

function fills() {
  const fill = (name, key, limit, counter, advice) => {
    const part = figure(key) / figure(limit), more = figure(counter) ?? 0;
    return { name, text: `${count(figure(key))} of ${count(figure(limit))}`, fill: part, level: part > .9 || grew(counter) > 0 ? "warn" : undefined, more: [more > 0 && `${count(more)} ${advice}`] };
  };
  return [
    fill("Flow table", "rfm_collector_active_flows", "rfm_collector_max_flows", "rfm_collector_forced_evictions_total", "flows ended early since the start"),
    fill("Flow series", "rfm_flow_series", "rfm_flow_series_limit", "rfm_flow_series_folded_total", "times counted under other"),
  ];
}

function databases() {
  const built = perLabel("rfm_mmdb_build_timestamp_seconds", "database");
  return { name: "Databases", text: built.length ? built.map(([name]) => name === "asn" ? "Networks" : name === "city" ? "Cities" : name).join(", ") : "None", more: built.map(([name, time]) => `${name}: built ${day(time)}`) };
}

function bmp() {
  if (figure("rfm_bmp_sessions") === undefined) return null;
  const routers = perLabel("rfm_bmp_session_up", "router"), down = routers.filter(([, up]) => !up);
  return {
    name: "BMP", level: down.length ? "bad" : undefined,
    text: `${count(figure("rfm_bmp_sessions"))} sessions, ${count(sumOf("rfm_bmp_peers"))} peers`,
    more: routers.slice(0, 8).map(([name, up]) => `${name}: ${up ? "up" : "lost"}`),
  };
}

function rib() {
  const routes = perLabel("rfm_rib_routes", "family");
  if (!routes.length) return null;
  const stale = sumOf("rfm_rib_stale_routes");
  return { name: "Routes", level: stale ? "warn" : undefined, text: list(routes), more: [stale && `${count(stale)} stale`, ...perLabel("rfm_rib_prefixes", "family").map(([family, n]) => `${count(n)} ${family} prefixes`)] };
}

function firewall() {
  if (figure("rfm_firewall_interfaces") === undefined) return null;
  const modes = perLabel("rfm_firewall_interfaces", "mode").filter(([, n]) => n), ports = modes.filter(([mode]) => mode !== "none");
  const bare = modes.length - ports.length || !ports.length;
  const dropsIn = from => new Map(samples(from, "rfm_firewall_packets_total").filter(([labels]) => labels.action === "drop").map(([labels, n]) => [labels.rule, n]));
  const drops = dropsIn(view), earlier = before ? dropsIn(before) : drops, seconds = elapsed();
  const rates = [...drops].map(([rule, n]) => [rule, seconds > 0 ? Math.max(0, n - (earlier.get(rule) ?? n)) / seconds : 0]).filter(([, rate]) => rate > 0).sort((a, b) => b[1] - a[1]);
  const now = total(rates), all = total([...drops]);
  const refused = perLabel("rfm_firewall_blackhole_refused_total", "reason").filter(([, n]) => n);
  return {
    name: "Firewall", level: bare ? "bad" : now > 0 ? "warn" : undefined,
    text: now > 0 ? `${packets(now)} dropped` : ports.length ? "Drops nothing now" : "On no interface",
    more: [
      modes.map(([mode, n]) => `${plural(n, "interface")}, ${mode === "none" ? "not attached" : mode}`).join("; "),
      list(perLabel("rfm_firewall_rules", "origin").filter(([, n]) => n)).replace(/^(?=.)/, "rules: "),
      all && `${count(all)} packets dropped since the start`,
      ...rates.slice(0, 4).map(([rule, rate]) => `${rule}: ${packets(rate)}`),
      refused.length && `blackholes refused: ${list(refused)}`,
    ],
  };
}

function ipfix() {
  const collectors = perLabel("rfm_ipfix_records_total", "collector");
  if (!collectors.length) return null;
  const dropped = new Map(perLabel("rfm_ipfix_dropped_records_total", "collector")), earlier = before ? sumOf("rfm_ipfix_dropped_records_total", before) : 0;
  const all = sumOf("rfm_ipfix_dropped_records_total");
  return { name: "IPFIX", level: before && all > earlier ? "bad" : all ? "warn" : undefined, text: plural(collectors.length, "collector"), more: collectors.slice(0, 8).map(([name, n]) => `${name}: ${count(n)} records${dropped.get(name) ? `, ${count(dropped.get(name))} dropped` : ""}`) };
}

function errors() {
  const found = perLabel("rfm_errors_total", "subsystem").filter(([, n]) => n), parse = perLabel("rfm_parse_errors_total", "reason").filter(([, n]) => n);
  const now = before ? sumOf("rfm_errors_total") - sumOf("rfm_errors_total", before) : 0;
  return { name: "Errors", level: now > 0 ? "warn" : undefined, text: found.length ? count(total(found)) : "None", more: [...found.map(([name, n]) => `${name}: ${count(n)}`), ...parse.map(([name, n]) => `frames with garbled ${name}: ${count(n)}`)] };
}

function config() {
  const time = figure("rfm_config_last_reload_success_timestamp_seconds");
  if (figure("rfm_config_last_reload_successful") === undefined) return null;
  const good = figure("rfm_config_last_reload_successful") === 1;
  return { name: "Configuration", level: good ? undefined : "bad", text: good ? "In order" : "The last one read is broken; the one before is in force", more: [time && `read ${day(time)} ${clock(time)}`] };
}

function processItem() {
  const start = figure("process_start_time_seconds");
  if (!start) return null;
  const cpu = figure("process_cpu_seconds_total"), earlier = before && figure("process_cpu_seconds_total", before);
  return {
    name: "The agent", text: `up ${span(view.now - start)}`,
    more: [`${bytes(figure("process_resident_memory_bytes") ?? 0)} of memory`, before && `${((cpu - earlier) / elapsed() * 100).toFixed(1)} % of a CPU`],
  };
}
