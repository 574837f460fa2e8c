// The alarms of the guard: those in progress, then the latest that have ended.

function drawAttacks() {
  const attacks = view.attacks;
  $("attacks-section").hidden = !attacks;
  if (!attacks) return;
  const { rows, total } = attacks;
  drawPlainTable("attacks", rows.map(({ id, target, direction, kind, value, threshold, signature, action, reason, in_force: inForce, matched, link_full: full, began, ended }) => {
    const rate = value => kind.endsWith("bits") ? byteRate(value / 8) : `${count(value)}/s`;
    const state = action === "alert" ? "" : inForce ? ", in force" : matched ? ", removed" : ", proposed";
    return [
      { text: target || `Attack ${id}`, sub: ended ? `${moment(began)}, for ${span(ended - began)}` : `since ${moment(began)}`, level: ended ? "" : "bad" },
      { text: `${kind.replaceAll("_", " ")} ${direction}`, sub: `${rate(value)}, threshold ${rate(threshold)}` },
      { text: signature ?? "–", sub: full ? "The link is full" : "" },
      { text: action + state, sub: matched ? `${reason}; ${count(matched)} packets matched` : reason },
    ];
  }));
  $("attacks-note").textContent = [
    total ? "" : "No alarm since the start.",
    total > rows.length ? `The first ${rows.length} of ${count(total)} lines.` : "",
    total ? "rfm guard show has all values of each." : "",
  ].filter(Boolean).join(" ");
}
