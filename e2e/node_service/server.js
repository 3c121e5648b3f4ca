'use strict'
// The service that the bridge replaces, written from its contract: Express, Socket.IO and
// a map in memory instead of Redis. TestNodeService compares the bridge with it, and so
// does TestMatrix in ../clients, which has it read messages from NATS.
const http = require('node:http')
const cors = require('cors')
const express = require('express')
const nats = require('nats')
const { Server } = require('socket.io')

const { PORT, ORIGIN, NATS_URL } = process.env
const MISSING = 'Missing topic, payload or userId'

// As in Redis, keys are texts. The newest socket of a user wins.
const users = new Map()

const policy = { origin: [ORIGIN], methods: ['GET', 'POST'], allowedHeaders: ['Content-Type', 'Authorization'], credentials: true }
const app = express()
app.use(cors(policy))
app.use(express.json({ limit: '1mb' }))

function failure (error, code, userId, action) {
  return { error, code, timestamp: new Date().toISOString(), details: { userId, action } }
}

function sendPayload (req, res) {
  const { userId, topic, ...payload } = req.body
  if (!userId || !topic) return res.status(400).json({ error: MISSING })
  const socketId = users.get(String(userId))
  if (!socketId) return res.status(404).json(failure('User not connected', 'USER_NOT_FOUND', String(userId), 'sendPayload'))
  io.to(socketId).emit(topic, payload)
  res.status(200).json({ message: 'Payload sent successfully' })
}

app.get('/sendPayload', sendPayload)
app.post('/sendPayload', sendPayload)

app.use((err, req, res, next) => {
  if (err.type === 'entity.parse.failed') return res.status(400).json({ error: MISSING })
  res.sendStatus(err.status ?? 500)
})

const server = http.createServer(app)
const io = new Server(server, {
  transports: ['websocket', 'polling'], pingInterval: 25_000, pingTimeout: 60_000, upgradeTimeout: 10_000, maxHttpBufferSize: 1e6, cors: policy
})

io.on('connection', (socket) => {
  socket.on('setUserId', (userId, ack) => {
    if (typeof userId === 'function' || userId === undefined || userId === null || userId === '') {
      const answer = typeof userId === 'function' ? userId : ack
      if (typeof answer === 'function') answer(failure('userId is missing', 'INVALID_USER_ID', null, 'setUserId'))
      return
    }
    users.set(String(userId), socket.id)
    if (typeof ack === 'function') ack({ ok: true })
  })
  socket.on('getConnectionId', (userId, ack) => {
    const id = users.get(String(userId)) ?? null
    socket.emit('connectionId', id)
    const answer = typeof userId === 'function' ? userId : ack
    if (typeof answer === 'function') answer(id)
  })
  socket.on('disconnect', () => {
    for (const [userId, id] of users) if (id === socket.id) users.delete(userId)
  })
})

async function subscribe () {
  const connection = await nats.connect({ servers: NATS_URL })
  connection.subscribe('codewar.>', {
    callback: (err, message) => {
      if (err) return console.error(err)
      const { userId, ...payload } = message.json()
      const socketId = users.get(String(userId))
      if (socketId) io.to(socketId).emit(message.subject.slice('codewar.'.length), payload)
    }
  })
  await connection.flush()
}

(NATS_URL ? subscribe() : Promise.resolve())
  .then(() => server.listen(Number(PORT), '127.0.0.1', () => console.log('listening')))
