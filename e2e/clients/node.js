// node node.js PACKAGE: a driver on one of the installed versions of socket.io-client.
// PACKAGE is its name in ../package.json.
'use strict';
const readline = require('node:readline');
const { io } = require(process.argv[2]);

const commands = require('./driver.js')(io, (message) => process.stdout.write(JSON.stringify(message) + '\n'));

process.stdout.write('{"type":"ready"}\n');
readline.createInterface({ input: process.stdin })
  .on('line', (line) => { const command = JSON.parse(line); commands[command.do](command); })
  .on('close', () => process.exit(0));
