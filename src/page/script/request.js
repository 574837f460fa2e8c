// Requests for the JSON data.

let view = null, timer = 0, failedSince = 0, asking = null;
let before = null;
// The time of the last new reading, by a clock that no setting changes.
let newest = 0;

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = asking = new AbortController();
  const limit = setTimeout(() => mine.abort(), 10000);
  try {
    for (let round = 0; round < 3; round++) {
      const shown = view?.interfaces.find(i => i.name === chosen.if);
      const query = new URLSearchParams({ ifindex: chosen.uplinks ? "uplinks" : shown ? shown.ifindex : 0, window: chosen.window, side: chosen.side });
      if (chosen.unit === "packets") query.set("unit", "packets");
      if (wantedList()) query.set("list", wantedList());
      for (const filter of chosen.filters) query.append("filter", filter);
      const options = `${query}`;
      askForNewest(query);
      const source = new URL(`page/v1.json?${query}`, document.baseURI);
      source.username = source.password = ""; // fetch refuses an address with a password; the browser sends it all the same
      const reply = await fetch(source, { signal: mine.signal, cache: "no-store" });
      if (!reply.ok) throw new Error(`status ${reply.status}`);
      const next = await reply.json();
      if (next.schema !== 1) { location.reload(); return; }
      if (!mergeCurves(view, next)) { curvesOf = ""; continue; }
      curvesOf = options;
      if (view?.now !== next.now) { before = view; newest = performance.now(); }
      view = next;
      // the index of a selected name is known only from the first answer, or may have changed
      const wanted = view.interfaces.find(i => i.name === chosen.if);
      if (applyDefaults()) continue;
      if (chosen.uplinks || !wanted || wanted.ifindex === view.shown) break;
    }
    failedSince = 0;
  } catch (error) {
    if (mine !== asking) return;
    failedSince ||= performance.now();
  } finally {
    clearTimeout(limit);
  }
  if (mine !== asking) return;
  draw();
  // a new list is complete when the flow table was read
  if (!document.hidden) timer = setTimeout(refresh, view?.talkers?.complete === false ? 300 : 5000);
}

// Without names, the page opens on prefixes. Returns whether the data for it are missing.
function applyDefaults() {
  const networks = ["ingress", "egress"].flatMap(dir => view[dir]?.networks ?? []);
  if (isFiltered()) return false;
  const isBare = view.names_missing && networks.every(([asn]) => asn <= 0) && view.addresses !== "none";
  const next = isBare ? { tab: "prefixes", stack: "family" } : { tab: "networks", stack: "networks" };
  const changes = next.tab !== usual.tab && chosen.tab === usual.tab;
  for (const key in next) {
    if (chosen[key] === usual[key]) chosen[key] = next[key];
    usual[key] = next[key];
  }
  if (changes) drawGroups();
  return changes && wantedList() !== "";
}
