// What the node tells by itself, over the bridge's own Socket.IO: a sample each
// second, and the rows of the tail while one is wanted.
import { signal } from "@preact/signals";
import { io, type Socket } from "socket.io-client";
import { authorization, call, key, locked } from "./api";
import { append, load } from "./history";
import type { Cluster, Sample, Series, TailFilter, TailRow } from "./types";

export type Link = "connecting" | "connected" | "lost";

export const link = signal<Link>("connecting");
/** Since when nothing is heard, in ms; 0 while connected. */
export const lostAt = signal(0);
export const cluster = signal<Cluster | null>(null);
export const loaded = signal(false);

let socket: Socket | undefined;
let wanted: { filter: TailFilter; rows: (rows: TailRow[], skipped: number) => void } | undefined;

/** start connects, with the key that is set now. Call it again after the key has changed. */
export function start(): void {
  socket?.disconnect();
  // A browser sends no headers of ours with a WebSocket: with a key it stays with polling.
  // One that has asked for the key by its own means adds it to both.
  const withKey = key.value !== "";
  socket = io({
    path: "/console/socket.io/",
    transports: withKey ? ["polling"] : ["websocket", "polling"],
    tryAllTransports: true,
    extraHeaders: authorization(),
    reconnectionDelayMax: 3000,
  });
  socket.on("connect", async () => {
    if (wanted) socket?.emit("tail", wanted.filter);
    await refresh().catch(() => undefined); // samples follow anyhow
    link.value = "connected";
    lostAt.value = 0;
  });
  const lost = () => {
    link.value = "lost";
    lostAt.value ||= Date.now();
  };
  socket.on("disconnect", lost);
  socket.on("connect_error", () => {
    lost();
    call("cluster").catch(() => locked.value && socket?.disconnect()); // a key is wanted: trying again without one is of no use
  });
  socket.on("sample", (sample: Sample) => append(sample));
  socket.on("tail", (batch: { rows?: TailRow[]; skipped?: number }) => wanted?.rows(batch.rows ?? [], batch.skipped ?? 0));
}

/** refresh loads what has happened so far. */
export async function refresh(): Promise<void> {
  load(await call<Series>("series?seconds=900"));
  loaded.value = true;
}

/** tail asks for the rows that match until its result is called. There is one at a time. */
export function tail(filter: TailFilter, rows: (rows: TailRow[], skipped: number) => void): () => void {
  const mine = { filter, rows };
  wanted = mine;
  socket?.connected && socket.emit("tail", filter);
  return () => {
    if (wanted !== mine) return;
    wanted = undefined;
    socket?.connected && socket.emit("tail", null);
  };
}

/** watchCluster asks for the state of the nodes while the page is looked at. */
export function watchCluster(): () => void {
  const ask = async () => {
    if (document.hidden) return;
    try {
      cluster.value = await call<Cluster>("cluster");
    } catch {
      // The link says that nothing is heard.
    }
  };
  void ask();
  const timer = setInterval(ask, 2000);
  document.addEventListener("visibilitychange", ask);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", ask);
  };
}
