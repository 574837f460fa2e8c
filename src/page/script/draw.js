// The order in which the parts are drawn.

function draw() {
  drawStatus();
  if (!view) return;
  drawInterfaces();
  const shown = view.interfaces.find(i => i.ifindex === view.shown);
  $("shown").hidden = !shown;
  if (shown) {
    drawTitle(shown);
    for (const dir of ["ingress", "egress"]) drawChart(dir, shown);
    drawTable();
  }
  drawPaths();
  drawSourceCheck();
  drawHealth();
  drawProblems();
  drawDatabases();
  $("version").textContent = `rfm ${view.version}${view.revision ? ` (${view.revision})` : ""}`;
  const { lines, curves, bytes: held, evicted } = view.history;
  $("cost").textContent = `History since the start: ${lines} lines, ${curves} curves, ${bytes(held)}` + (evicted ? `, ${count(evicted)} lines evicted` : "");
}

function drawTitle(port) {
  const about = [port.alias, port.speed && bits(port.speed), port.kind, port.master && `in ${port.master}`];
  $("h-shown").replaceChildren(make("bdi", {}, port.name), make("small", {}, make("bdi", {}, about.filter(Boolean).join(" · "))));
  document.title = `${port.name} – rfm`;
}
