// Networks on AS paths: the traffic that each carries for others beside the traffic that each originates.

// The column that sorts the networks; the largest on the path are first until the reader selects one.
let pathOrder = -1;

function drawPaths() {
  const paths = view.paths;
  const waiting = view.paths_waiting;
  $("paths-section").hidden = !paths && !waiting;
  $("paths-hint").hidden = Boolean(paths) || waiting;
  if (waiting) {
    drawPlainTable("paths", []);
    $("paths-note").textContent = "Paths are read only while the page is open: they follow in a few seconds.";
  }
  if (!paths) return;
  const seconds = Math.max(1, paths.seconds);
  const lines = paths.networks.map(([asn, carried, originated]) => ({ asn, bytes: [carried[0], originated[0], carried[1], originated[1]] }));
  if (pathOrder >= 0) lines.sort((a, b) => b.bytes[pathOrder] - a.bytes[pathOrder]);
  pathHeads().forEach((head, at) => {
    if (at === pathOrder) head.setAttribute("aria-sort", "descending");
    else head.removeAttribute("aria-sort");
  });
  drawPlainTable("paths", lines.map(({ asn, bytes }) => {
    const [text, note] = networkName(asn);
    return [{ text, note }, ...bytes.map(volume => ({ figure: volume ? byteRate(volume / seconds) : "–" }))];
  }));
  const [total, unknown] = [paths.total, paths.unknown].map(([ingress, egress]) => ingress + egress);
  $("paths-note").textContent = [
    lines.length ? `Mean rates over the last ${span(paths.seconds)}, of all interfaces that sums include.` : "No flow has ended on a path yet.",
    "On the path: the network carries packets of others, by the best route (in: by the route back to the source).",
    unknown > 0 ? `${percent(unknown / total)} has no path.` : "",
    paths.networks_total > lines.length ? `${lines.length} of ${count(paths.networks_total)} networks.` : "",
    "rfm paths --what-if AS shows how much a peering would move.",
  ].filter(Boolean).join(" ");
}

const pathHeads = () => [...$("paths").tHead.rows[1].cells].slice(1);

function sortPathsOnClick() {
  pathHeads().forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    pathOrder = pathOrder === at ? -1 : at;
    if (view) drawPaths();
  }));
}
