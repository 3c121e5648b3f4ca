import { useState } from "preact/hooks";
import { Icon, type IconName } from "./icons";

/** CopyButton puts a text on the clipboard and says so. */
export function CopyButton({ text, label, icon = "copy", bare = false }: { text: () => string; label: string; icon?: IconName; bare?: boolean }) {
  const [state, setState] = useState<"" | "Copied" | "Not allowed">("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      setState("Copied");
    } catch {
      setState("Not allowed"); // plain http on another machine has no clipboard
    }
    setTimeout(() => setState(""), 1600);
  };
  return (
    <button type="button" class="btn tight quiet" onClick={copy} aria-label={bare ? label : undefined} title={label}>
      <Icon name={state === "Copied" ? "check" : icon} size={14} />
      <span role="status" class={bare && !state ? "sr" : undefined}>{state || label}</span>
    </button>
  );
}
