// ioredis 5 and 6: INFO decides whether the connection is ready; the newest speaks RESP3.

import {
  address, check, database, equal, failure, hearing, keys, name, password, require, run, servers, versionOf
} from './checks.mjs'

const { Redis } = require('ioredis')

const connect = (more = {}) => {
  const client = new Redis({ ...address, password, db: database, connectionName: name, ...more })
  client.on('error', error => console.error('error event:', error))
  return client
}

const client = connect({ maxRetriesPerRequest: 3 })

check('connect and ping', async () => {
  equal(await client.ping(), 'PONG')
  equal(await client.client('GETNAME'), name)
})

check('a wrong password is refused', async () => {
  const wrong = connect({ password: 'wrong', lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 })
  wrong.on('ready', () => console.error('ready with a wrong password'))
  const errors = new Promise(resolve => wrong.on('error', resolve))
  wrong.connect().catch(() => {})
  const first = await Promise.race([errors, failure(wrong.get('key'))])
  equal(/WRONGPASS|NOAUTH|closed/.test(first.message), true)
  equal((await failure(wrong.get('key'))).message.length > 0, true)
  wrong.disconnect()
})

check('user and password', async () => {
  const other = connect({ username: 'default' })
  equal(await other.ping(), 'PONG')
  other.disconnect()
})

check('get and set, binary and large', async () => {
  const value = Buffer.from(Array.from({ length: 1 << 20 }, (_, index) => index % 256))
  equal(await client.set('binary', value), 'OK')
  equal((await client.getBuffer('binary')).equals(value), true)
  equal(await client.get('absent'), null)
  equal(await client.set('once', 'a', 'EX', 100, 'NX'), 'OK')
  equal(await client.set('once', 'a', 'EX', 100, 'NX'), null)
})

check('database', async () => {
  const other = connect({ db: database + 1 })
  await client.set('where', 'here')
  equal(await other.get('where'), null)
  await other.select(database)
  equal(await other.get('where'), 'here')
  other.disconnect()
})

check('hash, set, sorted set', async () => {
  await client.hset('hash', { a: '1', b: '2' })
  equal(await client.hgetall('hash'), { a: '1', b: '2' })
  await client.sadd('set', 'm')
  equal(await client.smembers('set'), ['m'])
  await client.zadd('sorted', 1.5, 'x')
  equal(Number(await client.zscore('sorted', 'x')), 1.5)
})

check('pipeline in order', async () => {
  const pipeline = client.pipeline()
  keys.forEach((key, number) => pipeline.set(key, number).get(key))
  const replies = await pipeline.exec()
  equal(replies.filter((_, index) => index % 2), keys.map((_, number) => [null, String(number)]))
})

check('several keys', async () => {
  equal(await client.mset(Object.fromEntries(keys.map(key => [key, key]))), 'OK')
  equal(await client.mget([...keys, 'absent']), [...keys, null])
  equal(await client.exists(...keys), keys.length)
  equal(await client.del(...keys.slice(0, 50)), 50)
  equal(await client.unlink(...keys), 50)
})

check('transaction', async () => {
  equal(await client.multi().set('{t}a', 1).incr('{t}a').get('{t}a').exec(), [[null, 'OK'], [null, 2], [null, '2']])
})

check('transaction step by step', async () => {
  const other = connect()
  equal(await other.multi({ pipeline: false }), 'OK')
  equal(await other.set('{t}b', 1), 'QUEUED')
  equal(await other.incr('{t}b'), 'QUEUED')
  equal(await other.exec(), [[null, 'OK'], [null, 2]])
  await other.multi({ pipeline: false })
  await other.set('{t}b', 9)
  equal(await other.discard(), 'OK')
  equal(await other.get('{t}b'), '2')
  other.disconnect()
})

check('transaction over several servers', async () => {
  const multi = client.multi()
  for (const key of keys) multi.set(key, 'inside')
  if (servers === 1) {
    equal((await multi.exec()).length, keys.length)
    return
  }
  equal(/CROSSSLOT|EXECABORT/.test((await failure(multi.exec())).message), true)
  equal((await client.mget(keys)).filter(value => value === 'inside'), [])
})

check('watch', async () => {
  const other = connect()
  await other.set('{w}', 1)
  await other.watch('{w}')
  await client.set('{w}', 10)
  equal(await other.multi().set('{w}', 0).exec(), null)
  await other.watch('{w}')
  equal(await other.multi().set('{w}', 2).exec(), [[null, 'OK']])
  other.disconnect()
})

check('blocking pop, and what is sent behind it', async () => {
  const other = connect()
  const popped = other.blpop('queue', 8)
  const behind = other.ping()
  await client.rpush('queue', 'job')
  equal(await popped, ['queue', 'job'])
  equal(await behind, 'PONG')
  equal(await other.blpop('queue', 1), null)
  other.disconnect()
})

check('publish and subscribe', async () => {
  const subscriber = connect()
  const [listener, heard] = hearing(40)
  subscriber.on('message', (_, message) => listener(message))
  subscriber.on('pmessage', (_, __, message) => listener(message))
  equal(await subscriber.subscribe('news', 'other'), 2)
  equal(await subscriber.psubscribe('new?'), 3)
  for (const key of keys.slice(0, 10)) {
    await client.publish('news', key)
    await client.eval("return redis.call('publish', 'news', KEYS[1])", 1, key)
  }
  equal((await heard).map(words => words[0]).sort(), keys.slice(0, 10).flatMap(key => [key, key, key, key]).sort())
  equal(await subscriber.unsubscribe('news', 'other'), 1)
  equal(await subscriber.punsubscribe('new?'), 0)
  equal(await subscriber.get('absent'), null)
  subscriber.disconnect()
})

check('scripts', async () => {
  client.defineCommand('twice', { numberOfKeys: 1, lua: "redis.call('set', KEYS[1], ARGV[1]) return ARGV[1] * 2" })
  for (let number = 0; number < 50; number += 1) equal(await client.twice(keys[number], number), number * 2)
  const replies = await client.pipeline(keys.slice(0, 20).map((key, number) => ['twice', key, number])).exec()
  equal(replies.map(([error]) => error), Array(20).fill(null))
})

check('scan all keys', async () => {
  await client.flushdb()
  await client.mset(Object.fromEntries(keys.map(key => [key, key])))
  const seen = new Set()
  for await (const found of client.scanStream({ count: 7 })) found.forEach(key => seen.add(key))
  equal([...seen].sort(), [...keys].sort())
})

check('streams', async () => {
  const id = await client.xadd('stream', '*', 'f', 'v')
  const found = await client.xread('BLOCK', 1000, 'STREAMS', 'stream', '0')
  const entries = [[id, ['f', 'v']]]
  equal(found, Array.isArray(found) ? [['stream', entries]] : { stream: entries })
})

check('errors keep the connection', async () => {
  await client.set('text', 'abc')
  equal(/WRONGTYPE/.test((await failure(client.lpush('text', 'x'))).message), true)
  equal(/unknown command/.test((await failure(client.call('NOSUCH', 'a'))).message), true)
  equal(await client.get('text'), 'abc')
})

check('quit', async () => {
  equal(await client.quit(), 'OK')
})

run('ioredis', versionOf('ioredis'))
