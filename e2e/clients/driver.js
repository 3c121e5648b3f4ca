// Runs tabs on a stock socket.io-client, in Node (node.js) and in a page (chromium.mjs).
// driver(io, tell) returns the commands of the line protocol that doc.go describes.
'use strict';

function driver(io, tell) {
  const tabs = new Map();
  return {
    open({ tab, url, transports, auth }) {
      const options = { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100 };
      if (transports) options.transports = transports;
      if (auth) options.auth = auth;
      const socket = io(url, options);
      tabs.set(tab, socket);
      socket.on('connect', () => tell({ tab, type: 'connect', id: socket.id, recovered: socket.recovered === true }));
      socket.on('disconnect', (reason) => tell({ tab, type: 'disconnect', reason }));
      socket.on('connect_error', (error) => tell({ tab, type: 'refused', reason: error.message }));
      socket.onAny((name, ...args) => {
        if (typeof args[args.length - 1] === 'function') args.pop()(); // confirms
        tell({ tab, type: 'event', name, args });
      });
    },
    emit({ tab, name, args, call }) {
      if (call) args.push((...answer) => tell({ tab, type: 'ack', call, args: answer }));
      tabs.get(tab).emit(name, ...args);
    },
    disconnect({ tab }) { tabs.get(tab).disconnect(); },
    connect({ tab, auth }) {
      if (auth) tabs.get(tab).auth = auth;
      tabs.get(tab).connect();
    },
    transport({ tab, call }) { tell({ tab, type: 'ack', call, args: [tabs.get(tab).io.engine.transport.name] }); },
  };
}

if (typeof module !== 'undefined') module.exports = driver;
