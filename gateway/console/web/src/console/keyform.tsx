import { useState } from "preact/hooks";
import { Icon } from "../shared/icons";
import { call, explain, locked, Refused, setKey } from "./api";
import { start } from "./live";

/** KeyForm asks for the operators' key until one is right. */
export function KeyForm() {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState("");
  const submit = async (e: Event) => {
    e.preventDefault();
    setKey(typed.trim());
    try {
      await call("cluster");
      locked.value = false;
      start();
    } catch (err) {
      setKey("");
      setError(err instanceof Refused && err.status === 401 ? "This key is not known." : explain(err));
    }
  };
  return (
    <form class="panel keyform" aria-label="Operators' key" onSubmit={submit}>
      <span class="keyicon">
        <Icon name="key" size={20} />
      </span>
      <h1>Operators only</h1>
      <p class="muted">This node asks for one of its operators' keys. It is kept in this tab until you close it.</p>
      <label class="field">
        <span>Operators' key</span>
        <input class="input mono" type="password" name="key" required value={typed} autocomplete="current-password" aria-invalid={error ? "true" : undefined} aria-describedby="key-error" autoFocus onInput={(e) => setTyped(e.currentTarget.value)} />
      </label>
      <p id="key-error" class="small invalid" role="alert">
        {error}
      </p>
      <button type="submit" class="btn primary">
        Open the console
      </button>
      <p class="small muted">
        <code>socketbridge key NAME</code> makes one; its hash belongs in <code>ops.keys</code>.
      </p>
    </form>
  );
}
