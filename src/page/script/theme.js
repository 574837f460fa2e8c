// Light and dark.

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
let theme = "auto";
try { theme = localStorage.getItem("rfm-theme") ?? "auto"; } catch { /* the theme is not stored */ }
if (!Object.hasOwn(THEMES, theme)) theme = "auto";
const dark = matchMedia("(prefers-color-scheme: dark)");
function applyTheme() {
  document.documentElement.dataset.theme = theme === "auto" ? dark.matches ? "dark" : "light" : theme;
  $("theme").textContent = THEMES[theme];
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
}
dark.addEventListener("change", applyTheme);
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  theme = names[(names.indexOf(theme) + 1) % names.length];
  try { localStorage.setItem("rfm-theme", theme); } catch { /* the theme is not stored */ }
  applyTheme();
});
