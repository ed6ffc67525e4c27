// ioredis's client for clusters: rmux tells it of one node, which is rmux (clusterAnnounce).

import { address, check, equal, hearing, keys, password, require, run, versionOf } from './checks.mjs'

const { Cluster } = require('ioredis')

const connect = () => new Cluster([address], { redisOptions: { password } })
const client = connect()

check('one node with all slots', async () => {
  await client.set('a', '1')
  equal(client.nodes('master').map(node => node.options.port), [address.port])
  equal((await client.cluster('INFO')).includes('cluster_state:ok'), true)
})

check('get and set', async () => {
  for (const key of keys) equal(await client.set(key, key), 'OK')
  equal(await Promise.all(keys.map(key => client.get(key))), keys)
})

check('pipeline in order', async () => {
  const pipeline = client.pipeline()
  for (const key of keys) pipeline.set(key, 'v').get(key)
  equal((await pipeline.exec()).map(([, reply]) => reply), keys.flatMap(() => ['OK', 'v']))
})

check('several keys', async () => {
  equal(await client.mset(Object.fromEntries(keys.map(key => [key, key]))), 'OK')
  equal(await client.mget(keys), keys)
  equal(await client.del(keys), keys.length)
})

check('transaction', async () => {
  const replies = await client.multi().set('{t}a', 1).incr('{t}a').exec()
  equal(replies.map(([, reply]) => reply), ['OK', 2])
})

check('publish and subscribe', async () => {
  const subscriber = connect()
  const [hear, heard] = hearing(1)
  subscriber.on('message', hear)
  equal(await subscriber.subscribe('news'), 1)
  await client.publish('news', 'hello')
  equal(await heard, [['news', 'hello']])
  subscriber.disconnect()
})

check('scripts', async () => {
  client.defineCommand('twice', { numberOfKeys: 1, lua: "redis.call('set', KEYS[1], ARGV[1]) return ARGV[1] * 2" })
  for (const [number, key] of keys.entries()) equal(await client.twice(key, number), number * 2)
})

await run('ioredis-cluster', versionOf('ioredis'))
