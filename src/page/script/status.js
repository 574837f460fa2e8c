// The status line and the list of problems.

function drawStatus() {
  const status = $("status");
  if (failedSince) {
    status.className = "bad";
    status.textContent = `No answer for ${span((performance.now() - failedSince) / 1000)}; trying again` + (view ? `. The figures below are those of ${clock(view.now, true)}.` : "");
    announce("No answer from rfm");
    return;
  }
  if (!view) { status.textContent = "Loading…"; return; }
  if (!view.now) { status.textContent = "rfm has just started: the first reading follows within seconds"; return; }
  const sampled = view.sample_rate === 1 ? "every packet sampled" : `1 in ${count(view.sample_rate)} packets sampled`;
  const losing = lost(view) - (before ? lost(before) : lost(view));
  // the reader's clock may be wrong
  const old = performance.now() - newest > 30000;
  const problems = view.problems ?? [];
  const state = problems.length ? plural(problems.length, "problem") : "healthy";
  announce(old ? "The figures are old" : state);
  status.className = problems.length || old ? "warn" : "good";
  status.textContent = [
    state,
    `${old ? "Last reading" : "As of"} ${clock(view.now, true)}`,
    `counting since ${view.now - view.since > 86400 ? day(view.since) + " " : ""}${clock(view.since)} (${span(view.now - view.since)})`,
    sampled,
    losing > 0 ? `losing ${packets(losing / elapsed())}` : lost(view) ? `${count(lost(view))} packets lost` : "nothing lost",
  ].join(" · ");
}

// Screen readers read this aloud, so it changes only with the state.
function announce(state) {
  if ($("announced").textContent !== state) $("announced").textContent = state;
}

function drawProblems() {
  const item = ({ text, remedy }) => make("li", {}, make("bdi", {}, text), make("span", { class: "remedy" }, remedy));
  const list = (view.problems ?? []).map(item);
  $("problems").hidden = !list.length;
  $("problems").replaceChildren(...list);
}
