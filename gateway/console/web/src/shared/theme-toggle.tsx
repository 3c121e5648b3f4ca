import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons";

const dark = matchMedia("(prefers-color-scheme: dark)");

function current(): "light" | "dark" {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return dark.matches ? "dark" : "light";
}

/** onTheme calls back whenever the colours change, whoever changed them. */
export function onTheme(call: () => void): () => void {
  const seen = new MutationObserver(call);
  seen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  dark.addEventListener("change", call);
  return () => {
    seen.disconnect();
    dark.removeEventListener("change", call);
  };
}

/** ThemeToggle changes between light and dark, and is remembered. */
export function ThemeToggle() {
  const [theme, setTheme] = useState(current);
  useEffect(() => onTheme(() => setTheme(current())), []);
  const other = theme === "dark" ? "light" : "dark";
  const toggle = () => {
    document.documentElement.dataset.theme = other;
    try {
      localStorage.setItem("theme", other);
    } catch {
      // Forbidden: it then holds for this page only.
    }
  };
  return (
    <button type="button" class="btn quiet square" onClick={toggle} aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`}>
      <Icon name={theme === "dark" ? "sun" : "moon"} />
    </button>
  );
}
