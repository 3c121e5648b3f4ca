"""driver.py sync|asyncio: a driver on python-socketio.

Handlers take exactly one argument, as applications of the Node service have them, or
two when the cursor is asked for: what the server sends must fit. doc.go describes the
commands.
"""
import asyncio
import json
import sys
import threading

import socketio

# What a handler is made for. python-socketio calls handlers by name.
TOPICS = ("tick", "connectionId", "error")
OPTIONS = {"reconnection_delay": 0.02, "reconnection_delay_max": 0.1, "randomization_factor": 0}
PATIENCE = 20  # seconds, as in cell_test.go
written = threading.Lock()


class InOrder(socketio.Client):
    """The synchronous client without a thread for each packet.

    The library handles each packet on a thread of its own, and two may overtake each
    other. The tests judge the order in which packets arrive.
    """

    def _engineio_client_class(self):
        class Engine(super()._engineio_client_class()):
            def _trigger_event(self, event, *args, run_async=False, **kwargs):
                return super()._trigger_event(event, *args, run_async=False, **kwargs)
        return Engine


def tell(**message):
    with written:
        print(json.dumps(message), flush=True)


def listen(client, tab, handler, auth):
    """Registers handlers of one argument, or of two when the cursor is asked for.

    handler makes them of the flavour.
    """
    client.on("connect", handler(lambda: tell(tab=tab, type="connect", id=client.get_sid())))
    client.on("disconnect", handler(lambda: tell(tab=tab, type="disconnect")))
    for topic in TOPICS:
        if auth and auth.get("resume"):
            def told(data, cursor, topic=topic):
                tell(tab=tab, type="event", name=topic, args=[data, cursor])
        else:
            def told(data, topic=topic):
                tell(tab=tab, type="event", name=topic, args=[data])
        client.on(topic, handler(told))


def answered(tab, call):
    return lambda *args: tell(tab=tab, type="ack", call=call, args=list(args))


class Sync:
    def __init__(self):
        self.tabs = {}

    @staticmethod
    def handler(do):
        return do

    def open(self, tab, url, transports=None, auth=None):
        client = InOrder(**OPTIONS)
        self.tabs[tab] = (client, url, transports, auth)
        listen(client, tab, self.handler, auth)
        self.connect(tab)

    def connect(self, tab, auth=None):
        client, url, transports, first = self.tabs[tab]
        client.connect(url, transports=transports, auth=auth or first, wait_timeout=PATIENCE)

    def emit(self, tab, name, args, call=None):
        self.tabs[tab][0].emit(name, tuple(args), callback=answered(tab, call) if call else None)

    def disconnect(self, tab):
        self.tabs[tab][0].disconnect()

    def transport(self, tab, call):
        tell(tab=tab, type="ack", call=call, args=[self.tabs[tab][0].transport()])

    def run(self):
        for line in sys.stdin:
            command = json.loads(line)
            getattr(self, command.pop("do"))(**command)
        for client, *_ in self.tabs.values():
            if client.connected:
                client.disconnect()


class Asyncio(Sync):
    @staticmethod
    def handler(do):
        async def told(*args):
            do(*args)
        return told

    def open(self, tab, url, transports=None, auth=None):
        client = socketio.AsyncClient(**OPTIONS)
        self.tabs[tab] = (client, url, transports, auth)
        listen(client, tab, self.handler, auth)
        return self.connect(tab)

    async def connect(self, tab, auth=None):
        client, url, transports, first = self.tabs[tab]
        await client.connect(url, transports=transports, auth=auth or first, wait_timeout=PATIENCE)

    async def emit(self, tab, name, args, call=None):
        await self.tabs[tab][0].emit(name, tuple(args), callback=answered(tab, call) if call else None)

    async def disconnect(self, tab):
        await self.tabs[tab][0].disconnect()

    async def transport(self, tab, call):
        tell(tab=tab, type="ack", call=call, args=[self.tabs[tab][0].transport()])

    async def serve(self):
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            command = json.loads(line)
            await getattr(self, command.pop("do"))(**command)
        for client, *_ in self.tabs.values():
            if client.connected:
                await client.disconnect()

    def run(self):
        asyncio.run(self.serve())


tell(type="ready")
{"sync": Sync, "asyncio": Asyncio}[sys.argv[1]]().run()
