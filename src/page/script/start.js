// The start; the last part of the script.

$("host").textContent = location.host;
$("find").addEventListener("input", showLines);
$("find-interface").addEventListener("input", () => { if (view) drawInterfaces(); });
for (const head of $("interfaces").tHead.rows[0].cells) head.querySelector("button")?.addEventListener("click", () => { if (view) sortPorts(head.dataset.sort); });
sortPathsOnClick();
$("uplinks").addEventListener("click", () => choose({ uplinks: !chosen.uplinks }));
document.addEventListener("copy", copySelection);
$("csv").addEventListener("click", saveTable);
$("copy").replaceWith(copyButton("Copy", tableAsText, "copy"));
$("zoom").addEventListener("click", () => choose({ from: 0, to: 0 }, true));
$("more").addEventListener("click", () => { all = !all; showLines(); });
addEventListener("hashchange", () => { readAddress(); drawGroups(); refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
let width = 0;
new ResizeObserver(() => { if (view && innerWidth !== width) { width = innerWidth; draw(); } }).observe(document.body);
applyTheme();
readAddress();
drawGroups();
refresh();
