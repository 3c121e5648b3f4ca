// Runs many stock socket.io-clients, each of them a page that keeps its user.
// Commands come as JSON lines on stdin, answers go as JSON lines to stdout.
// What a page gets is kept here and told at the end, in one report a page.
'use strict';
const { createRequire } = require('node:module');
const readline = require('node:readline');
const { io } = createRequire(process.argv[2] + '/')('socket.io-client');

const pages = new Map();
const tell = (message) => process.stdout.write(JSON.stringify(message) + '\n');

function open({ page, user, url, options }) {
  const socket = io(url, { forceNew: true, ...options });
  const report = { page, user, got: [], connections: [], gaps: [], errors: {}, opened: Date.now() };
  let ready = false;
  pages.set(page, { socket, report });

  socket.on('connect', () => {
    report.connections.push({ at: Date.now(), first: report.got.length, recovered: socket.recovered === true });
    // As applications do it: at every connect, recovered or not.
    socket.emit('setUserId', user, (answer) => {
      if (!answer.ok) report.errors[answer.code] = (report.errors[answer.code] ?? 0) + 1;
      else report.connections.at(-1).mapped = Date.now();
      if (answer.ok && !ready) tell({ type: 'ready', page });
      ready ||= answer.ok;
    });
  });
  socket.on('disconnect', (reason) => {
    report.connections.at(-1).until = Date.now();
    // The one end after which the stock client does not come back by itself.
    if (reason === 'io server disconnect') socket.connect();
  });
  socket.on('connect_error', (error) => {
    // Transports fail and are tried again by the client itself; a refused CONNECT is not.
    const kind = socket.active ? 'no connection' : `CONNECT refused for good: ${error.message}`;
    report.errors[kind] = (report.errors[kind] ?? 0) + 1;
  });
  socket.on('tick', (payload, last) => {
    const asked = typeof last === 'function'; // the sender wants to know
    report.got.push({ n: payload.n, o: typeof last === 'string' ? last : '', at: Date.now() });
    if (asked) last();
  });
  socket.on('bridge:offset', (_, offset) => {
    const last = report.got.at(-1);
    if (last?.o === '') last.o = offset;
  });
  socket.on('error', ({ type }) => {
    if (type === 'HISTORY_GAP') report.gaps.push({ before: report.got.length, at: Date.now() });
    else report.errors[type] = (report.errors[type] ?? 0) + 1;
  });
}

const commands = {
  open,
  counts() {
    const counts = {};
    for (const [page, { report }] of pages) counts[page] = report.got.length;
    tell({ type: 'counts', counts });
  },
  report() {
    for (const { socket, report } of pages.values()) {
      socket.removeAllListeners('disconnect'); // that one is no end that a page saw
      socket.disconnect();
      tell({ type: 'report', report });
    }
    tell({ type: 'end' });
  },
};

readline.createInterface({ input: process.stdin })
  .on('line', (line) => { const command = JSON.parse(line); commands[command.do](command); })
  .on('close', () => process.exit(0));
