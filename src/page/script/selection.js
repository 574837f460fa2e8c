// The selection, stored in the address.

const CHOICES = {
  window: { hour: "1 hour", day: "24 hours" },
  stack: { networks: "Networks", family: "IP version" },
  side: { far: "Remote networks", near: "Local networks" },
  tab: { networks: "Networks", neighbours: "Neighbours", countries: "Countries", cities: "Cities", protocols: "Protocols" },
  dir: { ingress: "In", egress: "Out" },
  unit: { bits: "bit/s", bytes: "B/s" },
  zone: { local: "Local time", utc: "UTC" },
};
const COLUMNS = ["name", "now", "mean", "max", "share", "pps", "packets", "peer"];
const chosen = { if: "", sort: "mean", asc: false };
for (const key in CHOICES) chosen[key] = Object.keys(CHOICES[key])[0];
const usual = { ...chosen };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(chosen, usual);
  for (const key in CHOICES) if (Object.hasOwn(CHOICES[key], given.get(key) ?? "")) chosen[key] = given.get(key);
  if (COLUMNS.includes(given.get("sort"))) chosen.sort = given.get("sort");
  chosen.asc = given.get("asc") === "1";
  chosen.if = given.get("if") ?? "";
}

function writeAddress() {
  const out = new URLSearchParams();
  for (const key in usual) if (chosen[key] !== usual[key]) out.set(key, chosen[key] === true ? "1" : chosen[key]);
  history.replaceState(null, "", out.size ? `#${out}` : location.pathname + location.search);
}

function choose(changes) {
  const asks = ["if", "window", "side"].some(key => key in changes && changes[key] !== chosen[key]);
  Object.assign(chosen, changes);
  writeAddress();
  drawGroups();
  if (asks) refresh(); else draw();
}

function drawGroups() {
  for (const key in CHOICES) {
    const group = $(key);
    if (!group.children.length) {
      for (const [value, text] of Object.entries(CHOICES[key])) {
        const button = make("button", { type: "button", "data-value": value }, text);
        button.addEventListener("click", () => choose({ [key]: value }));
        group.append(button);
      }
    }
    for (const button of group.children) button.setAttribute("aria-pressed", button.dataset.value === chosen[key]);
  }
}
