// Drives socket.io-client for siotest. Commands come as JSON lines on stdin, what
// happens goes as JSON lines to stdout; `client` tells the clients apart.
'use strict';
const { createRequire } = require('node:module');
const readline = require('node:readline');
const { io } = createRequire(process.argv[2] + '/')('socket.io-client');

const clients = new Map();
const tell = (message) => process.stdout.write(JSON.stringify(message) + '\n');

function connect({ client, url, options }) {
  const socket = io(url, { forceNew: true, reconnectionDelay: 10, reconnectionDelayMax: 50, ...options });
  clients.set(client, socket);
  // The texts of EVENT packets as they came off the wire. The library hands
  // packets on in order, so the first one waiting belongs to the next event.
  const raw = [];
  socket.io.on('open', () => {
    raw.length = 0;
    socket.io.engine.on('packet', ({ type, data }) => {
      if (type === 'message' && typeof data === 'string' && data[0] === '2') raw.push(data);
    });
    socket.io.engine.on('upgrade', (transport) => tell({ client, type: 'upgrade', transport: transport.name }));
  });
  socket.on('connect', () => tell({
    client, type: 'connect', id: socket.id, pid: socket._pid, recovered: socket.recovered === true,
    transport: socket.io.engine.transport.name,
  }));
  socket.on('disconnect', (reason) => tell({ client, type: 'disconnect', reason }));
  socket.on('connect_error', (error) => tell({
    client, type: 'connect_error', reason: error.message, code: error.data?.code,
    // polling: xhr status; websocket: the ws library says "Unexpected server response: 403"
    status: typeof error.description === 'number' ? error.description
      : Number(/response: (\d+)/.exec(error.description?.message)?.[1] ?? 0),
  }));
  socket.onAny((name, ...args) => {
    const ack = typeof args.at(-1) === 'function' ? args.pop() : undefined;
    tell({ client, type: 'event', name, args, raw: raw.shift(), wantsAck: ack !== undefined });
    if (ack) ack(...args);
  });
}

const commands = {
  connect,
  emit({ client, name, args }) { clients.get(client).emit(name, ...args); },
  emitWithAck({ client, name, args, call }) {
    clients.get(client).emit(name, ...args, (...answer) => tell({ client, type: 'ack', call, args: answer }));
  },
  disconnect({ client }) { clients.get(client).disconnect(); },
  reconnect({ client }) { clients.get(client).connect(); },
  auth({ client, auth }) { clients.get(client).auth = auth; },
  drop({ client }) { clients.get(client).io.engine.close(); },
};

readline.createInterface({ input: process.stdin })
  .on('line', (line) => { const command = JSON.parse(line); commands[command.do](command); })
  .on('close', () => process.exit(0));
