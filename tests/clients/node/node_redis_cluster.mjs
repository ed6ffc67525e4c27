// node-redis's client for clusters: rmux tells it of one node, which is rmux (clusterAnnounce).

import { address, check, equal, hearing, keys, password, require, run, versionOf } from './checks.mjs'

const { createCluster } = require('redis')

const client = createCluster({ rootNodes: [{ socket: address }], defaults: { password } })
client.on('error', error => console.error(error))
await client.connect()

check('one node with all slots', async () => {
  equal(client.masters.map(({ address }) => address), [`${address.host}:${address.port}`])
})

check('get and set', async () => {
  for (const key of keys) equal(await client.set(key, key), 'OK')
  equal(await Promise.all(keys.map(key => client.get(key))), keys)
})

check('several keys', async () => {
  equal(await client.mSet(Object.fromEntries(keys.map(key => [key, key]))), 'OK')
  equal(await client.mGet(keys), keys)
  equal(await client.del(keys), keys.length)
})

check('transaction', async () => {
  equal(await client.multi().set('{t}a', '1').incr('{t}a').exec(), ['OK', 2])
})

check('publish and subscribe', async () => {
  const [hear, heard] = hearing(1)
  await client.subscribe('news', hear)
  await client.publish('news', 'hello')
  equal(await heard, [['hello', 'news']])
  await client.unsubscribe('news')
})

check('publish and subscribe to a shard channel', async () => {
  const [hear, heard] = hearing(1)
  await client.sSubscribe('shard', hear)
  await client.sPublish('shard', 'hello')
  equal(await heard, [['hello', 'shard']])
  await client.sUnsubscribe('shard')
})

check('scripts', async () => {
  for (const key of keys.slice(0, 20)) {
    equal(await client.eval("return redis.call('get', KEYS[1])", { keys: [key], arguments: [] }), null)
  }
})

await run('node-redis-cluster', versionOf('redis'))
