import { useEffect, useState } from "preact/hooks";

interface Props {
  value: string;
  onEnter: (value: string) => void;
  class?: string;
  name?: string;
  placeholder?: string;
  required?: boolean;
  maxLength?: number;
}

/**
 * Draft is an input whose value counts once it is entered. What is typed until then
 * stays, however often the page around it is drawn anew.
 */
export function Draft({ value, onEnter, ...rest }: Props) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  return <input class="input" spellcheck={false} autocomplete="off" {...rest} value={typed} onInput={(e) => setTyped(e.currentTarget.value)} onChange={(e) => onEnter(e.currentTarget.value.trim())} />;
}
