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
    for (let round = 0; round < 4; round++) {
      const shown = view?.interfaces.find(i => i.name === chosen.if);
      const query = new URLSearchParams({ ifindex: chosen.uplinks ? "uplinks" : shown ? shown.ifindex : 0, window: isStored() ? "hour" : liveWindow(), side: chosen.side });
      if (chosen.unit === "packets") query.set("unit", "packets");
      if (wantedList() && !isStored()) query.set("list", wantedList());
      if (!isStored()) for (const filter of chosen.filters) query.append("filter", filter);
      query.set("stack", isFiltered() || isStored() ? "none" : chosen.stack);
      query.set("points", "packed");
      const options = `${query}`;
      askForNewest(query, options);
      askForLines(query);
      const source = new URL(`page/v1.json?${query}`, document.baseURI);
      // fetch refuses an address with a password; the browser sends it all the same
      source.username = source.password = "";
      const reply = await fetch(source, { signal: mine.signal, cache: "no-store" });
      if (!reply.ok) throw new Error(`status ${reply.status}`);
      const next = await reply.json();
      if (next.schema !== 1) { location.reload(); return; }
      unpackCurves(next);
      if (!mergeCurves(view, next)) { curvesOf = ""; continue; }
      curvesOf = options;
      if (view?.now !== next.now) {
        // counters of an agent that was restarted begin at 0
        before = view?.since === next.since && view.ticks < next.ticks ? view : null;
        newest = performance.now();
      }
      view = next;
      // the index of a selected name is known only from the first answer, or may have changed
      const wanted = view.interfaces.find(i => i.name === chosen.if);
      if (applyDefaults()) continue;
      if (chosen.uplinks || !wanted || wanted.ifindex === view.shown) break;
    }
    await refreshPast(mine.signal);
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
  const isSoon = view && (!view.now || view.talkers?.complete === false);
  if (!document.hidden) timer = setTimeout(refresh, isSoon ? 300 : 5000);
}

// Seconds between the two latest readings, by the clock of the agent that is never set.
const elapsed = () => before ? (view.ticks - before.ticks) * view.tick_seconds : 0;

// Without names, the page opens on prefixes. Returns whether the data for it are missing.
function applyDefaults() {
  if (isFiltered() || !view.now) return false;
  const hasNetworks = ["ingress", "egress"].some(dir => view[dir]?.has_networks);
  const isBare = view.names_missing && !hasNetworks && view.addresses !== "none";
  const next = isBare ? { tab: "prefixes", stack: "family" } : { tab: "networks", stack: "networks" };
  const shown = [chosen.tab, chosen.stack].join();
  for (const key in next) {
    if (chosen[key] === usual[key]) chosen[key] = next[key];
    usual[key] = next[key];
  }
  const changes = [chosen.tab, chosen.stack].join() !== shown;
  if (changes) drawGroups();
  return changes;
}
