// The selection, stored in the address.

const CHOICES = {
  window: { hour: "1 hour", six: "6 hours", day: "24 hours", week: "7 days", month: "30 days", year: "1 year" },
  stack: { networks: "Networks", family: "IP version" },
  side: { far: "Remote networks", near: "Local networks" },
  tab: { networks: "Networks", hosts: "Hosts", prefixes: "Prefixes", services: "Services", neighbours: "Neighbors", countries: "Countries", cities: "Cities", protocols: "Protocols" },
  dir: { ingress: "In", egress: "Out" },
  unit: { bits: "bit/s", bytes: "B/s", packets: "p/s" },
  zone: { local: "Local time", utc: "UTC" },
  compare: { none: "No comparison", day: "Yesterday", week: "Last week" },
};
const COLUMNS = ["name", "now", "mean", "max", "share", "pps", "packets", "peer", "volume"];
const chosen = { if: "", uplinks: false, sort: "mean", asc: false, filters: [], from: 0, to: 0 };
for (const key in CHOICES) chosen[key] = Object.keys(CHOICES[key])[0];
const usual = { ...chosen };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(chosen, usual);
  for (const key in CHOICES) if (Object.hasOwn(CHOICES[key], given.get(key) ?? "")) chosen[key] = given.get(key);
  if (COLUMNS.includes(given.get("sort"))) chosen.sort = given.get("sort");
  chosen.asc = given.get("asc") === "1";
  chosen.if = given.get("if") ?? "";
  chosen.uplinks = given.get("uplinks") === "1";
  [chosen.from, chosen.to] = ["from", "to"].map(key => Math.min(1e11, Number.parseInt(given.get(key), 10)) || 0);
  if (!isZoomed()) chosen.from = chosen.to = 0;
  chosen.filters = given.getAll("filter").filter(text => parseFilter(text).kind).slice(0, MAX_FILTERS);
}

function writeAddress(isNew) {
  const out = new URLSearchParams();
  for (const key in usual) if (key !== "filters" && chosen[key] !== usual[key]) out.set(key, chosen[key] === true ? "1" : chosen[key]);
  for (const filter of chosen.filters) out.append("filter", filter);
  history[isNew ? "pushState" : "replaceState"](null, "", out.size ? `#${out}` : location.pathname + location.search);
}

// Applies changes; `isNew` makes them an entry of the browser's history.
function choose(changes, isNew) {
  const list = wantedList();
  const asks = ["if", "uplinks", "window", "side", "stack", "filters", "from", "to", "compare"].some(key => key in changes && changes[key] !== chosen[key])
    // bits and bytes are the same data
    || "unit" in changes && (changes.unit === "packets") !== inPackets();
  Object.assign(chosen, changes);
  writeAddress(isNew);
  drawGroups();
  if (asks || wantedList() && wantedList() !== list) {
    refresh();
    return;
  }
  draw();
  // other lines, and the other tables, are of an earlier answer or missing
  if (["tab", "dir", "sort", "asc"].some(key => key in changes)) refresh();
}

function drawGroups() {
  for (const key in CHOICES) {
    const group = $(key);
    if (!group.children.length) {
      for (const [value, text] of Object.entries(CHOICES[key])) {
        // a period has its short name
        const button = make("button", { type: "button", "data-value": value, title: key === "window" && text }, key === "window" ? text.replace(/(\d+ .).*/, "$1") : text);
        button.addEventListener("click", () => choose(key === "window" ? { window: value, from: 0, to: 0 } : { [key]: value }));
        group.append(button);
      }
    }
    for (const button of group.children) {
      button.setAttribute("aria-pressed", button.dataset.value === (key === "window" ? windowShown() : chosen[key]));
      button.hidden = key === "tab" && (chosen.filters.length > 0 && !FILTERED_TABS.includes(button.dataset.value) || isStored() && !STORED_TABLES[button.dataset.value]);
    }
  }
}
