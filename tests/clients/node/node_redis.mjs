// node-redis 4, 5 and 6. All of a turn's commands go in one write, the handshake before them; the newest speaks RESP3.

import {
  address, check, database, equal, failure, hearing, keys, name, password, require, run, servers, versionOf
} from './checks.mjs'

const redis = require('redis')

const version = versionOf('redis')

async function connect(more = {}) {
  const client = redis.createClient({ socket: address, password, database, name, ...more })
  client.on('error', error => console.error('error event:', error))
  await client.connect()
  return client
}

let client

check('connect and ping', async () => {
  client = await connect()
  equal(await client.ping(), 'PONG')
  equal(await client.clientGetName(), name)
})

check('a wrong password is refused', async () => {
  const socket = { ...address, reconnectStrategy: false }
  const wrong = redis.createClient({ socket, password: 'wrong' }).on('error', () => {})
  equal(/WRONGPASS|invalid username-password/.test((await failure(wrong.connect())).message), true)
})

check('user and password, RESP3', async () => {
  const other = await connect({ username: 'default', RESP: 3 })
  await other.hSet('hash3', { a: '1' })
  equal(await other.hGetAll('hash3'), { a: '1' })
  other.destroy ? other.destroy() : await other.disconnect()
})

check('get and set, binary and large', async () => {
  const value = '0123456789abcdef'.repeat(100_000)
  equal(await client.set('large', value), 'OK')
  equal((await client.get('large')) === value, true)
  equal(await client.get('absent'), null)
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  await client.set('binary', bytes)
  const got = client.withTypeMapping
    ? await client.withTypeMapping({ [redis.RESP_TYPES.BLOB_STRING]: Buffer }).get('binary')
    : await client.get(redis.commandOptions({ returnBuffers: true }), 'binary')
  equal(got, bytes)
})

check('database', async () => {
  const other = await connect({ database: database + 1 })
  await client.set('where', 'here')
  equal(await other.get('where'), null)
  await other.select(database)
  equal(await other.get('where'), 'here')
  other.destroy ? other.destroy() : await other.disconnect()
})

check('hash, set, sorted set', async () => {
  await client.hSet('hash', { a: '1', b: '2' })
  equal(await client.hGetAll('hash'), { a: '1', b: '2' })
  await client.sAdd('set', ['m'])
  equal(await client.sMembers('set'), ['m'])
  await client.zAdd('sorted', [{ score: 1.5, value: 'x' }])
  equal(await client.zScore('sorted', 'x'), 1.5)
  equal(await client.zRangeWithScores('sorted', 0, -1), [{ value: 'x', score: 1.5 }])
})

check('many commands in one turn, in order', async () => {
  const replies = await Promise.all(keys.flatMap((key, number) => [client.set(key, String(number)), client.get(key)]))
  equal(replies.filter((_, index) => index % 2), keys.map((_, number) => String(number)))
})

check('several keys', async () => {
  equal(await client.mSet(Object.fromEntries(keys.map(key => [key, key]))), 'OK')
  equal(await client.mGet([...keys, 'absent']), [...keys, null])
  equal(await client.exists(keys), keys.length)
  equal(await client.touch(keys), keys.length)
  equal(await client.del(keys.slice(0, 50)), 50)
  equal(await client.unlink(keys), 50)
})

check('transaction', async () => {
  equal(await client.multi().set('{t}a', '1').incr('{t}a').get('{t}a').exec(), ['OK', 2, '2'])
  equal(await client.multi().ping().set('{t}a', '7').exec(), ['PONG', 'OK'])
})

check('transaction over several servers', async () => {
  const multi = client.multi()
  for (const key of keys) multi.set(key, 'inside')
  if (servers === 1) {
    equal((await multi.exec()).length, keys.length)
    return
  }
  equal(/CROSSSLOT|EXECABORT/.test((await failure(multi.exec())).message), true)
  equal((await client.mGet(keys)).filter(value => value === 'inside'), [])
})

check('watch', async () => {
  const other = await connect()
  await other.set('{w}', '1')
  await other.watch('{w}')
  equal(await other.multi().set('{w}', '2').exec(), ['OK'])
  await other.watch('{w}')
  await client.set('{w}', '10')
  equal((await failure(other.multi().set('{w}', '0').exec())).constructor.name, 'WatchError')
  equal(await other.get('{w}'), '10')
  other.destroy ? other.destroy() : await other.disconnect()
})

check('blocking pop, and what is sent behind it', async () => {
  const other = await connect()
  const popped = other.blPop('queue', 8)
  const behind = other.ping()
  await client.rPush('queue', 'job')
  equal(await popped, { element: 'job', key: 'queue' })
  equal(await behind, 'PONG')
  equal(await other.blPop('queue', 0.1), null)
  other.destroy ? other.destroy() : await other.disconnect()
})

check('publish and subscribe', async () => {
  const subscriber = await connect()
  const [listener, heard] = hearing(40)
  await subscriber.subscribe('news', listener)
  await subscriber.pSubscribe('new?', listener)
  for (const key of keys.slice(0, 10)) {
    await client.publish('news', key)
    await client.eval("return redis.call('publish', 'news', KEYS[1])", { keys: [key], arguments: [] })
  }
  equal((await heard).map(words => words[0]).sort(), keys.slice(0, 10).flatMap(key => [key, key, key, key]).sort())
  equal((await subscriber.ping()).toUpperCase(), 'PONG')
  await subscriber.unsubscribe('news')
  await subscriber.pUnsubscribe('new?')
  equal(await subscriber.get('absent'), null)
  subscriber.destroy ? subscriber.destroy() : await subscriber.disconnect()
})

check('scripts', async () => {
  const digest = await client.scriptLoad('return ARGV[1]')
  for (const key of keys.slice(0, 20)) {
    equal(await client.evalSha(digest, { keys: [key], arguments: ['x'] }), 'x')
  }
  equal(/NOSCRIPT/.test((await failure(client.evalSha('0'.repeat(40), { keys: ['k'], arguments: [] }))).message), true)
})

check('scan all keys', async () => {
  await client.flushDb()
  await client.mSet(Object.fromEntries(keys.map(key => [key, key])))
  const seen = []
  for await (const found of client.scanIterator({ COUNT: 7 })) seen.push(...[found].flat())
  equal([...new Set(seen)].sort(), [...keys].sort())
  equal(await client.dbSize(), keys.length)
})

check('streams', async () => {
  const id = await client.xAdd('stream', '*', { f: 'v' })
  const [found] = [await client.xRead([{ key: 'stream', id: '0' }], { BLOCK: 1000 })].flat()
  equal(found.name ? found.messages[0].id : found.stream[0].id, id)
})

check('errors keep the connection', async () => {
  await client.set('text', 'abc')
  equal(/WRONGTYPE/.test((await failure(client.lPush('text', 'x'))).message), true)
  equal(/unknown command/.test((await failure(client.sendCommand(['NOSUCH', 'a']))).message), true)
  equal(await client.get('text'), 'abc')
})

check('information', async () => {
  equal(/redis_version:\d+\.\d+/.test(await client.info()), true)
})

check('quit', async () => {
  await (client.close ? client.close() : client.quit())
})

run('node-redis', version)
