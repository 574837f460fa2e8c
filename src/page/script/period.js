// The period that the page shows: a window that ends now, or the part of one that the reader has selected.

const PERIODS = { hour: 3600, six: 21600, day: 86400, week: 604800, month: 2592000, year: 31536000 };
// The windows that the agent has in memory.
const LIVE = ["hour", "day"];
const SHORTEST = 300;

const isZoomed = () => chosen.to > chosen.from;
// The window that the page shows; none if it shows a part of one.
const windowShown = () => isZoomed() ? "" : view && !view.stored ? liveWindow() : chosen.window;
const liveWindow = () => LIVE.includes(chosen.window) ? chosen.window : "day";
// Whether curves and tables are from the history on disk. It also has the day before a restart.
const isStored = () => Boolean(view?.stored) && (isZoomed() || !LIVE.includes(chosen.window) || hasOlder());
const hasOlder = () => chosen.window === "day" && view.now - view.since < 82800 && past.oldest < view.since - 600;
// The answer for the view, once it is there.
const stored = () => isStored() && past.data?.interfaces === chosenInterfaces().join() ? past.data : null;

// Returns the period of the charts in Unix seconds.
function periodShown() {
  if (isZoomed()) return [chosen.from, chosen.to];
  const end = Math.floor(view.now / 60) * 60;
  return [end - PERIODS[windowShown()], end];
}

function zoomTo(from, to) {
  const middle = (from + to) / 2, half = Math.max(SHORTEST, to - from) / 2, end = Math.min(Math.floor(view.now), Math.round(middle + half));
  choose({ from: Math.max(1, Math.round(end - 2 * half)), to: end }, true);
}

function drawPeriod() {
  drawGroups();
  for (const button of $("window").children) button.disabled = !view.stored && !LIVE.includes(button.dataset.value);
  $("compare").hidden = !view.stored;
  // of the near side, the history has only hosts
  $("side").hidden = isStored() && !["hosts", "prefixes"].includes(chosen.tab);
  $("zoom").hidden = !isZoomed();
  const data = stored(), [from, to] = data ? [data.from, data.to] : periodShown();
  $("period").textContent = isZoomed() ? `${moment(from)} – ${moment(to)}` : "";
  const note = !view.stored ? "Longer periods need the history on disk: agent.history.path is empty."
    : past.error ? `History on disk: ${past.error}`
    : data && !data.ingress && !data.egress ? "No data of this period."
    : data && data.from - periodShown()[0] > data.step ? `The history of ${chosenInterfaces().join(", ")} begins ${moment(data.from)}.` : "";
  const missing = Math.max(0, ...[data?.ingress, data?.egress].map(direction => direction?.max_missing ?? 0));
  $("period-note").textContent = [
    note, missing ? `A row may lack up to ${bytes(missing)}: there are too many.` : "", data?.damaged_blocks ? `${count(data.damaged_blocks)} damaged blocks are missing.` : "",
  ].filter(Boolean).join(" ");
}
