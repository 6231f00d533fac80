// Light and dark: the system's, until somebody says otherwise.

const dark = matchMedia("(prefers-color-scheme: dark)");
const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
function apply(wanted = stored()) {
  const now = wanted || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  const button = document.getElementById("theme");
  button.textContent = now === "dark" ? "Light" : "Dark";
  button.title = `Switch to ${now === "dark" ? "light" : "dark"} colours`;
}
export function switchTheme() {
  const now = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", now); } catch { /* It holds for as long as the page. */ }
  apply(now);
}
dark.addEventListener("change", () => apply());
document.getElementById("theme").onclick = switchTheme;
apply();
