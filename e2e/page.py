"""One python-socketio page for the Go tests: argv is url, auth as JSON, user.

Its handler takes exactly one argument, as such clients are written. Lines on
stdout: `ready`, then what each event brought as JSON, or `error` and why.
"""
import json
import sys

import socketio

url, auth, user = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
page = socketio.Client()


def say(*words):
    print(*words, flush=True)


if auth and auth.get("resume"):
    page.on("tick", lambda data, offset: say(json.dumps([data, offset])))
    page.on("connectionId", lambda data, _: say("connectionId", data is not None))
else:
    page.on("tick", lambda data: say(json.dumps([data])))
    page.on("connectionId", lambda data: say("connectionId", data is not None))

page.connect(url, auth=auth)
page.call("setUserId", user)
say("ready")
page.emit("getConnectionId", user)
for line in sys.stdin:
    pass
page.disconnect()
