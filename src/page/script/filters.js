// The filters of the reader: each is END.KIND.VALUE in the address of the page, as in the request for the data.

// The tabs whose lists count only while somebody reads them, and those that filters can be applied to.
const LISTS = ["hosts", "prefixes", "services"];
const FILTERED_TABS = ["networks", ...LISTS];
const MAX_FILTERS = 4;

// Returns the list that the view needs; with filters it also has the networks.
function wantedList() {
  if (LISTS.includes(chosen.tab)) return chosen.tab;
  return chosen.filters.length ? "networks" : "";
}

function parseFilter(text) {
  const [, end, kind, value] = /^(far|near)\.(\w+)\.(.*)$/s.exec(text) ?? [];
  return { end, kind, value };
}

function filterName(text) {
  const { end, kind, value } = parseFilter(text), local = end === "near";
  switch (kind) {
    case "asn": return [local ? "Local network" : "Network", networkName(Number(value), end).filter(Boolean).join(" ")];
    case "peer": return ["Neighbor", neighborName(Number(value)).filter(Boolean).join(" ")];
    case "country": return ["Country", regionName(value)];
    case "city": return ["City", value || "Unknown city"];
    case "host": return [local ? "Local address" : "Address", value];
    case "service": return ["Service", serviceName(value).join(" ")];
    case "protocol": return ["Protocol", PROTOCOLS[value] ?? value];
    default: return ["Filter", text];
  }
}

// Each change is an entry of the browser's history, so that its back button undoes it.
function addFilter(text) {
  if (chosen.filters.includes(text) || chosen.filters.length >= MAX_FILTERS) return;
  const kind = parseFilter(text).kind;
  // a list of one line would say nothing
  const single = { hosts: "host", services: "service", networks: "asn" }[chosen.tab] === kind;
  const tab = FILTERED_TABS.includes(chosen.tab) && !single ? chosen.tab : kind === "host" ? "services" : "hosts";
  isolated.ingress = isolated.egress = "";
  choose({ filters: [...chosen.filters, text], tab }, true);
  $("h-shown").scrollIntoView({ block: "nearest" });
}

function removeFilter(text) {
  choose({ filters: chosen.filters.filter(filter => filter !== text) }, true);
}

function drawFilters() {
  const chip = text => {
    const [kind, name] = filterName(text);
    const button = make("button", { type: "button", class: "chip", "data-filter": text, title: "Remove this filter" },
      make("span", {}, kind), make("bdi", {}, name), make("span", { class: "cross-out", "aria-hidden": true }, "×"));
    button.addEventListener("click", () => removeFilter(text));
    return make("li", {}, button);
  };
  const focus = document.activeElement?.dataset?.filter;
  $("filters").hidden = !chosen.filters.length;
  $("filters").replaceChildren(...chosen.filters.map(chip));
  if (focus) [...$("filters").querySelectorAll("button")].find(button => button.dataset.filter === focus)?.focus({ preventScroll: true });
}
