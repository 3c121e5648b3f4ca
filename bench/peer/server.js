'use strict'
// The service that the bridge replaces, as a good Node engineer writes it today: Express and
// Socket.IO on one HTTP server, users in Redis, messages from core NATS. One process.

const http = require('node:http')
const express = require('express')
const { Redis } = require('ioredis')
const { connect } = require('nats')
const { Server } = require('socket.io')

const { PORT = '3004', REDIS_HOST = '127.0.0.1', REDIS_PORT = '6379', NATS_URL = 'nats://127.0.0.1:4222' } = process.env
const PREFIX = 'codewar.'

// Commands of one turn of the event loop share a round trip.
const redis = new Redis({ host: REDIS_HOST, port: Number(REDIS_PORT), enableAutoPipelining: true })
redis.on('error', (err) => console.error('redis:', err.message))

// A socket removes the mapping that is still its own, and no newer one.
redis.defineCommand('release', {
  numberOfKeys: 1,
  lua: "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
})

const key = (userId) => `user:${userId}`

const app = express()
app.disable('x-powered-by')
app.disable('etag')
const server = http.createServer(app)
server.keepAliveTimeout = 120_000
const io = new Server(server, {
  transports: ['websocket', 'polling'],
  pingInterval: 25_000,
  pingTimeout: 60_000,
  cors: { origin: true, credentials: true }
})

io.on('connection', (socket) => {
  socket.on('setUserId', async (userId, ack) => {
    try {
      await redis.set(key(userId), socket.id)
      socket.data.userId = userId
      if (typeof ack === 'function') ack({ ok: true })
    } catch (err) {
      console.error('setUserId:', err.message)
      if (typeof ack === 'function') ack({ error: 'Not available now' })
    }
  })
  socket.on('getConnectionId', async (userId) => {
    try {
      socket.emit('connectionId', await redis.get(key(userId)))
    } catch (err) {
      console.error('getConnectionId:', err.message)
    }
  })
  socket.on('disconnect', () => {
    const { userId } = socket.data
    if (userId !== undefined) redis.release(key(userId), socket.id).catch((err) => console.error('disconnect:', err.message))
  })
})

// deliver reports whether a socket of the user took the payload. A process that owns all
// sockets finds one by its id, without a room and its adapter.
async function deliver(userId, topic, payload) {
  const socket = io.sockets.sockets.get(await redis.get(key(userId)))
  if (socket === undefined) return false
  socket.emit(topic, payload)
  return true
}

app.post('/sendPayload', express.json({ limit: '1mb' }), async (req, res) => {
  const { userId, topic, ...payload } = req.body ?? {}
  if (!userId || !topic) return res.status(400).json({ error: 'Missing topic, payload or userId' })
  try {
    if (await deliver(userId, topic, payload)) return res.json({ message: 'Payload sent successfully' })
    return res.status(404).json({ error: 'User not connected', code: 'USER_NOT_FOUND' })
  } catch (err) {
    console.error('sendPayload:', err.message)
    return res.status(503).json({ error: 'Not available now' })
  }
})

app.get('/readyz', (req, res) => res.sendStatus(redis.status === 'ready' ? 200 : 503))

async function main() {
  const nc = await connect({ servers: NATS_URL })
  nc.subscribe(PREFIX + '>', {
    // A callback costs less than the iterator: no promise for each message.
    callback: (err, msg) => {
      if (err) return console.error('nats:', err.message)
      let message
      try {
        message = msg.json()
      } catch {
        return console.error('nats: not JSON on', msg.subject)
      }
      const { userId, topic, ...payload } = message
      deliver(userId, msg.subject.slice(PREFIX.length), payload).catch((err) => console.error('deliver:', err.message))
    }
  })
  await nc.flush()
  server.listen(Number(PORT), '127.0.0.1', 4096)

  const stop = async () => {
    await nc.close()
    await io.close()
    redis.disconnect()
    process.exit(0)
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
