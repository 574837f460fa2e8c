// Requests for the JSON data.

let view = null, timer = 0, failedSince = 0, asking = null;
let before = null;
// The time of the last new reading, by a clock that no setting changes.
let newest = 0;

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = asking = new AbortController();
  const limit = setTimeout(() => mine.abort(), 10000);
  try {
    for (let round = 0; round < 2; round++) {
      const shown = view?.interfaces.find(i => i.name === chosen.if);
      const query = new URLSearchParams({ ifindex: shown ? shown.ifindex : 0, window: chosen.window, side: chosen.side });
      const source = new URL(`page/v1.json?${query}`, document.baseURI);
      source.username = source.password = ""; // fetch refuses an address with a password; the browser sends it all the same
      const reply = await fetch(source, { signal: mine.signal, cache: "no-store" });
      if (!reply.ok) throw new Error(`status ${reply.status}`);
      const next = await reply.json();
      if (next.schema !== 1) { location.reload(); return; }
      if (view?.now !== next.now) { before = view; newest = performance.now(); }
      view = next;
      // the index of a selected name is known only from the first answer, or may have changed
      const wanted = view.interfaces.find(i => i.name === chosen.if);
      if (!wanted || wanted.ifindex === view.shown) break;
    }
    failedSince = 0;
  } catch (error) {
    if (mine !== asking) return;
    failedSince ||= performance.now();
  } finally {
    clearTimeout(limit);
  }
  if (mine !== asking) return;
  draw();
  if (!document.hidden) timer = setTimeout(refresh, 5000);
}
