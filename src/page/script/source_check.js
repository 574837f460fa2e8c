// The source check: bytes of invalid sources by reason and neighbor, and of those that could not be checked.

const SOURCE_STATES = {
  bogon: ["Bogon", "no network may use it in the internet (RFC 6890)"],
  local: ["Local prefix", "a connected network of another interface"],
  unrouted: ["Unrouted", "no route covers it"],
  infeasible: ["Infeasible", "the neighbor announces no route for it (RFC 3704, 2.3)"],
  unknown: ["Not known", "the routes of the neighbor before import policy are missing"],
};

function drawSourceCheck() {
  const check = view.source_check;
  $("sources-section").hidden = !check;
  if (!check) return;
  const seconds = elapsed();
  const earlier = before?.source_check && new Map(before.source_check.rows.map(row => [row.slice(0, 3).join("|"), row[3]]));
  drawPlainTable("sources", check.rows.map(([port, state, asn, volume]) => {
    const [text, sub] = SOURCE_STATES[state], [name, note] = neighborName(asn);
    const grown = volume - (earlier?.get([port, state, asn].join("|")) ?? 0);
    return [
      { text, sub, level: state === "unknown" ? "faint" : "bad" }, { text: name, note }, { text: port },
      { figure: earlier && seconds > 0 ? byteRate(Math.max(0, grown) / seconds) : "–" }, { figure: bytes(volume) }, { figure: percent(volume / check.checked) },
    ];
  }));
  const { checked, invalid, unknown, neighbors, without_view: without, without_view_total: missing } = check;
  $("sources-note").textContent = [
    !checked ? "No packet has been checked yet."
      : `${invalid ? `${bytes(invalid)} of ${bytes(checked)} (${percent(invalid / checked)}) have` : `None of ${bytes(checked)} has`} an invalid source.`,
    unknown ? `Of ${bytes(unknown)} (${percent(unknown / checked)}) it is not known.` : "",
    neighbors ? `The routes before import policy of ${count(neighbors - missing)} of ${count(neighbors)} neighbors are there.` : "No neighbor is known.",
    missing ? `They are missing from ${without.map(asn => networkName(asn).filter(Boolean).join(" ")).join(", ")}${missing > without.length ? ` and ${count(missing - without.length)} more` : ""}.` : "",
    check.rows_total > check.rows.length ? `The first ${check.rows.length} of ${count(check.rows_total)} lines.` : "",
  ].filter(Boolean).join(" ");
}
