// The order in which the parts are drawn.

function draw() {
  drawStatus();
  // before the first reading of the agent there is nothing to show
  if (!view?.now) return;
  drawInterfaces();
  const shown = shownPort();
  $("shown").hidden = !shown;
  if (shown) {
    drawTitle(shown);
    drawPeriod();
    drawFilters();
    drawFiltered();
    for (const dir of ["ingress", "egress"]) drawChart(dir, shown);
    drawTable();
  }
  drawAttacks();
  drawPaths();
  drawSourceCheck();
  drawHealth();
  drawProblems();
  drawDatabases();
  $("dashboard").hidden = !view.dashboard;
  if (view.dashboard) $("dashboard").lastElementChild.href = view.dashboard;
  $("version").textContent = `rfm ${view.version}${view.revision ? ` (${view.revision})` : ""}`;
  const { lines, curves, bytes: held, evicted } = view.history;
  $("cost").textContent = `History since the start: ${lines} lines, ${curves} curves, ${bytes(held)}` + (evicted ? `, ${count(evicted)} lines evicted` : "");
}

// Returns the interface shown in detail, or the sum of all uplinks.
function shownPort() {
  if (!view.shows_uplinks) return view.interfaces.find(i => i.ifindex === view.shown);
  const members = view.interfaces.filter(port => view.uplinks.includes(port.ifindex));
  return members.length ? sumOfPorts("All uplinks together", members) : undefined;
}

function drawTitle(port) {
  const about = [port.alias, port.speed && byteRate(port.speed), port.kind, port.master && `in ${port.master}`];
  $("h-shown").replaceChildren(make("bdi", {}, port.name), make("small", {}, make("bdi", {}, about.filter(Boolean).join(" · "))));
  document.title = `${port.name} – rfm`;
}
