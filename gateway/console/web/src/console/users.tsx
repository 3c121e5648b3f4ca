import { useState } from "preact/hooks";
import { call } from "./api";
import { count, plural } from "../shared/format";
import { Empty, Failure, Loading, NodeName, Panel, Time, useLoaded, UserLink } from "./parts";
import { go, route, setQuery } from "./route";
import type { Users as Page } from "./types";

/** Users lists who is connected, and finds a user who is not. */
export function Users() {
  const prefix = route.value.query.get("prefix") ?? "";
  const [typed, setTyped] = useState(prefix);
  const page = useLoaded((signal) => call<Page>(`users?limit=100&prefix=${encodeURIComponent(prefix)}`, { signal }), [prefix], 3000);
  const submit = (e: Event) => {
    e.preventDefault();
    if (typed.trim()) go(["users", typed.trim()]);
  };
  return (
    <>
      <header class="view-head">
        <h1>Users</h1>
      </header>
      <form class="lookup" role="search" aria-label="Look a user up" onSubmit={submit}>
        <label class="field grow">
          <span>User id</span>
          <input
            class="input"
            name="user"
            value={typed}
            placeholder="user_123"
            autocomplete="off"
            spellcheck={false}
            onInput={(e) => {
              setTyped(e.currentTarget.value);
              setQuery({ prefix: e.currentTarget.value.trim() });
            }}
          />
        </label>
        <button type="submit" class="btn primary">
          Look up
        </button>
      </form>
      <p class="muted small">Typing filters those who are connected. Look up answers for anybody, connected or not.</p>
      <Panel title={prefix ? `Connected, beginning with “${prefix}”` : "Connected"} hint={page.data && (page.data.truncated ? `${page.data.users.length} of ${count(page.data.total)}` : count(page.data.total))}>
        {page.error !== undefined && <Failure error={page.error} again={page.again} />}
        {page.loading && <Loading />}
        {page.data && page.data.users.length === 0 && (
          <Empty>
            {prefix ? (
              <p>Nobody who is connected has an id like that. Press Enter to look up what is known of “{prefix}” anyway.</p>
            ) : (
              <>
                <p>Nobody is connected.</p>
                <p>
                  A page is listed once it has said <code>socket.emit("setUserId", "user_123")</code>.
                </p>
              </>
            )}
          </Empty>
        )}
        {page.data && page.data.users.length > 0 && (
          <div class="table-box">
            <table class="stack">
              <thead>
                <tr>
                  <th>User</th>
                  <th class="r">Sockets</th>
                  <th>Nodes</th>
                  <th class="r">Since</th>
                </tr>
              </thead>
              <tbody>
                {page.data.users.map((u) => (
                  <tr key={u.userId}>
                    <td class="title">
                      <UserLink user={u.userId} />
                    </td>
                    <td class="r num" data-label="Sockets">{count(u.sockets)}</td>
                    <td data-label="Nodes">
                      <span class="names">
                        {u.nodes.map((n) => (
                          <NodeName key={n} id={n} />
                        ))}
                      </span>
                    </td>
                    <td class="r" data-label="Since">
                      <Time at={u.since} relative />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        {page.data?.missing?.length ? <p class="foot">Without those of {plural(page.data.missing.length, "node")} that did not answer: {page.data.missing.join(", ")}.</p> : null}
      </Panel>
    </>
  );
}
