// The shapes of the operators' API (docs/console.md), as far as they are shown here.

export const outcomes = ["pushed", "inboxed", "offline", "duplicate", "dead"] as const;
export type Outcome = (typeof outcomes)[number];

export interface NodeState {
  id: string;
  version: string;
  startedAt: string;
  leader: boolean;
  ready: boolean;
  reasons?: Record<string, string>;
  sockets: number;
  users: number;
  connections: { websocket: number; polling: number };
  goroutines: number;
  rssBytes: number;
  nats: {
    connected: boolean;
    url: string;
    embedded: boolean;
    rttMs: number;
    streamMessages: number;
    streamBytes: number;
    firstSeq: number;
    lastSeq: number;
    readSeq: number;
    lag: number;
  };
  store: { kind: "redis" | "memory"; ok: boolean; pingMs: number; error?: string };
  canary?: { ageMs: number; ok: boolean; lastMs: number } | null;
  counters: {
    received: number;
    outcomes: Partial<Record<Outcome, number>>;
    inFlight: number;
    drops?: Record<string, number>;
    refusals?: Record<string, number>;
  };
  push: { count: number; p50Ms: number; p99Ms: number; p999Ms: number };
}

export interface Cluster {
  at: string;
  node: string;
  version: string;
  revision?: string;
  leader: string;
  historyTtlMs: number;
  historyMaxPerUser: number;
  tracesKept: number;
  nodes: NodeState[];
  missing?: string[];
}

/** Fields of a second of one node: numbers by the names of the API. */
export type Fields = Record<string, number>;

export interface Series {
  at: string;
  everyMs: number;
  nodes: { id: string; from: string; fields: Record<string, (number | null)[]> }[];
}

export interface Sample {
  at: string;
  nodes: ({ id: string } & Record<string, number | string>)[];
  missing?: string[];
}

export interface TailRow {
  at: string;
  offset: string;
  userId: string;
  topic: string;
  outcome: Outcome;
  sockets: number;
  tookMs: number;
  node: string;
  code?: string;
}

export interface TailFilter {
  user?: string;
  topic?: string;
  outcome?: string;
}

export interface Verdict {
  code: string;
  text: string;
}

export interface Try {
  node: string;
  sockets?: string[];
  took: number;
  seen: number;
  acked: number;
  error?: string;
}

export interface Users {
  users: { userId: string; sockets: number; nodes: string[]; since: string }[];
  total: number;
  truncated: boolean;
  missing?: string[];
}

export interface User {
  userId: string;
  verdict: Verdict;
  sockets: { socketId: string; node: string; since: string; transport: string; lastOffset: string; queuedBytes: number }[];
  /** Calls that found nobody and were not to wait. */
  missed?: { at: string; topic: string; node: string }[];
  partial?: string[];
  events: { at: string; event: string; socketId: string; node: string; reason?: string; durationMs?: number }[];
  taken: string;
  last: string;
  messages: { offset: string; topic: string; at: string | null; outcome: Outcome | ""; code?: string; verdict?: Verdict; sockets: number; tries?: Try[] }[];
  dead?: { seq: number; at: string; code: string; reason: string; subject: string }[];
  missing?: string[];
}

export interface Message {
  offset: string;
  subject: string;
  topic?: string;
  userId?: string;
  read: string;
  settled: string;
  outcome: Outcome;
  code?: string;
  tries?: Try[];
  verdict?: Verdict;
}

export interface Receipt {
  outcome: Outcome;
  sockets: number;
  /** Missing when it was not stored. */
  offset?: string;
  acks?: number | null;
  tookMs: number;
}

export interface DeadLetters {
  total: number;
  letters: { seq: number; at: string; subject: string; code: string; reason: string; userId?: string; bytes: number }[];
}

export interface Logs {
  entries: { at: string; level: string; message: string; node: string; attrs?: Record<string, unknown> }[];
}
