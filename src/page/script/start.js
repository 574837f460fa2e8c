// The start; the last part of the script.

$("host").textContent = location.host;
$("find").addEventListener("input", () => { if (view) drawTable(); });
$("find-interface").addEventListener("input", () => { if (view) drawInterfaces(); });
for (const head of $("interfaces").tHead.rows[0].cells) head.querySelector("button")?.addEventListener("click", () => { if (view) sortPorts(head.dataset.sort); });
sortPathsOnClick();
$("uplinks").addEventListener("click", () => choose({ uplinks: !chosen.uplinks }));
$("csv").addEventListener("click", () => { $("csv").href = tableAsCsv(); });
$("more").addEventListener("click", () => { all = !all; drawTable(); });
addEventListener("hashchange", () => { readAddress(); drawGroups(); refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
let width = 0;
new ResizeObserver(() => { if (view && innerWidth !== width) { width = innerWidth; draw(); } }).observe(document.body);
applyTheme();
readAddress();
drawGroups();
refresh();
