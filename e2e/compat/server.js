'use strict'
// Socket.IO's own server with the events of the contract, for the comparison with the bridge.
// Its options are those that the bridge's configuration has.

const http = require('node:http')
const { Server } = require('socket.io')

const options = JSON.parse(process.argv[2])
const server = http.createServer((req, res) => res.writeHead(404).end())
const io = new Server(server, {
  transports: ['websocket', 'polling'],
  serveClient: false,
  maxHttpBufferSize: 1e6,
  upgradeTimeout: 10_000,
  cors: {
    origin: [options.origin],
    credentials: true,
    methods: ['GET', 'POST'],
    allowedHeaders: ['Content-Type', 'Authorization'],
    maxAge: 600
  },
  ...options.io
})

const users = new Map()

io.on('connection', (socket) => {
  socket.on('setUserId', (user, ack) => {
    users.set(user, socket.id)
    if (typeof ack === 'function') ack({ ok: true })
  })
  socket.on('getConnectionId', (user, ack) => {
    const id = users.get(user) ?? null
    socket.emit('connectionId', id)
    if (typeof ack === 'function') ack(id)
  })
})

server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
process.stdin.on('end', () => process.exit(0)).resume() // its parent has ended
