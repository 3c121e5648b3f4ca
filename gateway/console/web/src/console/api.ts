import { signal } from "@preact/signals";

/** The operators' key, for as long as the tab is open; "" for none. */
export const key = signal(stored());
/** True while the API wants a key that it knows. */
export const locked = signal(false);

function stored(): string {
  try {
    return sessionStorage.getItem("ops-key") ?? "";
  } catch {
    return "";
  }
}

export function setKey(value: string): void {
  key.value = value;
  try {
    if (value) sessionStorage.setItem("ops-key", value);
    else sessionStorage.removeItem("ops-key");
  } catch {
    // Forbidden: the key is then asked for after each reload.
  }
}

/** Refused is an answer of the API that is not a success. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** authorization is what goes with each request. */
export function authorization(): Record<string, string> {
  return key.value ? { Authorization: `Bearer ${key.value}` } : {};
}

/**
 * call asks the operators' API.
 * @throws Refused, or TypeError when the node cannot be reached
 */
export async function call<T>(path: string, options: { body?: unknown; signal?: AbortSignal } = {}): Promise<T> {
  const init: RequestInit = { headers: { Accept: "application/json", ...authorization() }, cache: "no-store", credentials: "same-origin" /* the browser may have asked for the key by itself */ };
  if (options.signal) init.signal = options.signal;
  if (options.body !== undefined) {
    init.method = "POST";
    init.body = JSON.stringify(options.body);
    init.headers = { ...init.headers, "Content-Type": "application/json" };
  }
  const answer = await fetch(`/api/v1/${path}`, init);
  const body: unknown = await answer.json().catch(() => ({}));
  if (answer.status === 401) locked.value = true;
  if (!answer.ok) {
    const { error, code } = body as { error?: string; code?: string };
    throw new Refused(answer.status, code ?? "", error ?? `The node answered ${answer.status}`);
  }
  locked.value = false;
  return body as T;
}

/** explain says what went wrong, for people. */
export function explain(err: unknown): string {
  if (err instanceof Refused) return err.message;
  if (err instanceof TypeError) return "The node does not answer.";
  return String(err);
}
