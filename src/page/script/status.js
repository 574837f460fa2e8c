// The status line and the list of problems.

function drawStatus() {
  const status = $("status");
  if (failedSince) {
    status.className = "bad";
    status.textContent = `No answer since ${clock(failedSince, true)}; trying again` + (view ? `. Below is what was known at ${clock(view.now, true)}.` : "");
    return;
  }
  if (!view) { status.textContent = "Asking…"; return; }
  const sampled = view.sample_rate === 1 ? "every packet sampled" : `1 in ${count(view.sample_rate)} packets sampled`;
  const losing = lost(view) - (before ? lost(before) : lost(view));
  const old = Date.now() / 1000 - view.now > 30;
  const problems = view.problems ?? [];
  status.className = problems.length || old ? "warn" : "good";
  status.textContent = [
    problems.length ? `${problems.length} ${problems.length === 1 ? "problem" : "problems"}` : "healthy",
    `${old ? "Last reading" : "As of"} ${clock(view.now, true)}`,
    `counting since ${view.now - view.since > 86400 ? day(view.since) + " " : ""}${clock(view.since)} (${span(view.now - view.since)})`,
    sampled,
    losing > 0 ? `losing ${packets(losing / (view.now - before.now))}` : lost(view) ? `${count(lost(view))} packets lost` : "nothing lost",
  ].join(" · ");
}

function drawProblems() {
  const item = ({ text, remedy }) => make("li", {}, make("bdi", {}, text), make("span", { class: "remedy" }, remedy));
  const list = (view.problems ?? []).map(item);
  $("problems").hidden = !list.length;
  $("problems").replaceChildren(...list);
}
