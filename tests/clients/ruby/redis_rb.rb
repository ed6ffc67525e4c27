# redis-rb: the Redis gem.

require_relative 'checks'
require 'redis'

def connect(more = {})
  Redis.new({ db: DATABASE, id: NAME, timeout: 10 }.merge(LOGIN).merge(more))
end

puts "client redis-rb #{Redis::VERSION}"
client = connect

check 'connect and ping' do
  equal(client.ping, 'PONG')
  equal(client.call([:client, :getname]), NAME)
end

check 'a wrong password is refused' do
  equal(failure { connect(password: 'wrong').get('key') }.match?(/WRONGPASS|invalid/), true)
end

check 'get, set, hash' do
  bytes = (0..255).map(&:chr).join.b * 4000
  client.set('binary', bytes)
  equal(client.get('binary').b == bytes, true)
  client.mapped_hmset('hash', 'a' => '1', 'b' => '2')
  equal(client.hgetall('hash'), 'a' => '1', 'b' => '2')
  client.zadd('sorted', 1.5, 'm')
  equal(client.zscore('sorted', 'm'), 1.5)
end

check 'database' do
  client.set('where', 'here')
  equal(connect(db: DATABASE + 1).get('where'), nil)
end

check 'pipeline and several keys' do
  replies = client.pipelined { |pipe| KEYS.each_with_index { |key, number| pipe.set(key, number); pipe.get(key) } }
  equal(replies.each_slice(2).map(&:last), (0..99).map(&:to_s))
  equal(client.mapped_mset(KEYS.to_h { |key| [key, key] }), 'OK')
  equal(client.mget(KEYS), KEYS)
  equal(client.del(KEYS), 100)
end

check 'transaction' do
  equal(client.multi { |multi| multi.set('{t}a', 1); multi.incr('{t}a') }, ['OK', 2])
end

check 'transaction over several servers' do
  all = -> { connect.multi { |multi| KEYS.each { |key| multi.set(key, 'inside') } } }
  if SERVERS == 1
    equal(all.call.length, 100)
  else
    equal(failure(&all).match?(/CROSSSLOT|EXECABORT/), true)
    equal(connect.mget(KEYS).count('inside'), 0)
  end
end

check 'watch' do
  one = connect
  one.set('{w}', 1)
  replies = one.watch('{w}') do
    client.set('{w}', 10)
    one.multi { |multi| multi.set('{w}', 0) }
  end
  equal([replies, one.get('{w}')], [nil, '10'])
end

check 'blocking pop' do
  waiting = Thread.new { connect.blpop('queue', timeout: 8) }
  client.rpush('queue', 'job')
  equal(waiting.value, %w[queue job])
  equal(client.blpop('queue', timeout: 1), nil)
end

check 'publish and subscribe' do
  heard = []
  subscriber = connect
  subscriber.subscribe_with_timeout(8, 'news') do |on|
    on.subscribe { client.publish('news', 'hello') }
    on.message do |_channel, message|
      heard << message
      subscriber.unsubscribe('news')
    end
  end
  equal(heard, ['hello'])
end

check 'scripts and scan' do
  client.flushdb
  digest = client.script(:load, "return redis.call('set', KEYS[1], ARGV[1])")
  KEYS.each { |key| equal(client.evalsha(digest, [key], ['v']), 'OK') }
  equal(client.scan_each(count: 7).to_a.uniq.sort, KEYS.sort)
end

check 'errors keep the connection' do
  client.set('text', 'abc')
  equal(failure { client.lpush('text', 'x') }.include?('WRONGTYPE'), true)
  equal(client.get('text'), 'abc')
end

check('quit') { client.quit }

puts 'done'
