<?php
// Laravel's own parts (illuminate/redis, cache, queue), with phpredis and with predis: the cache, locks, a queue.
//
// With several servers, what is used together has a hash tag: the queue's keys. Cache::putMany, whose transaction has
// keys of several servers, is an error there.

declare(strict_types=1);
require __DIR__ . '/checks.php';
error_reporting(E_ALL & ~E_DEPRECATED);
foreach (['Illuminate/Redis', 'Illuminate/Cache', 'Illuminate/Queue', 'Illuminate/Container'] as $part) {
    require "$part/autoload.php";
}
require 'Predis/autoload.php';

use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Container\Container;
use Illuminate\Queue\RedisQueue;
use Illuminate\Redis\RedisManager;

// As config/database.php of a Laravel application says it.
function manager(string $client): RedisManager
{
    global $socket, $host, $port, $password, $database, $name;
    $address = match (true) {
        $socket === '' => ['host' => $host, 'port' => $port],
        $client === 'predis' => ['scheme' => 'unix', 'path' => $socket],
        default => ['host' => $socket, 'port' => 0],
    };
    $connection = $address + ['database' => $database, 'read_timeout' => 3];
    $connection += $password !== '' ? ['password' => $password] : [];
    $connection += $client === 'phpredis' ? ['name' => $name] : [];
    $options = ['prefix' => 'app:'];
    return new RedisManager(new Container(), $client, ['options' => $options, 'default' => $connection]);
}

$version = json_decode((string) shell_exec("dpkg-query -W -f '\"\${Version}\"' php-illuminate-redis"));
echo 'client laravel ', preg_replace('/[+-].*/', '', (string) $version), "\n";

foreach (['phpredis', 'predis'] as $client) {
    $redis = manager($client);
    $store = new RedisStore($redis, 'cache:', 'default');
    $cache = new Repository($store);

    check("$client: facade", function () use ($redis, $keys) {
        $redis->set('user:1', 'ann');
        equal($redis->get('user:1'), 'ann');
        $redis->pipeline(fn ($pipe) => array_map(fn ($key) => $pipe->set($key, $key), $keys));
        equal(array_values($redis->mget($keys)), $keys);
        equal($redis->eval("return redis.call('GET', KEYS[1])", 1, 'user:1'), 'ann');
    });

    check("$client: transaction", function () use ($redis) {
        $replies = $redis->transaction(function ($transaction) {
            $transaction->set('{t}a', '1');
            $transaction->incr('{t}a');
        });
        equal($replies[1], 2);
    });

    check("$client: cache", function () use ($cache, $keys) {
        $cache->put('page', ['title' => 'Home'], 60);
        equal($cache->get('page'), ['title' => 'Home']);
        equal((int) $cache->remember('sum', 60, fn () => 42), 42);
        equal($cache->increment('hits', 2) >= 2, true);
        foreach ($keys as $key) {
            $cache->put($key, $key, 60);
        }
        equal($cache->many($keys), array_combine($keys, $keys));
        equal($cache->add('page', 'other', 60), false);
        equal($cache->forget('page'), true);
    });

    check("$client: cache, many at once", function () use ($cache, $client, $keys, $servers) {
        equal($cache->putMany(['{k}a' => 1, '{k}b' => 2], 60), true);
        // A connection of its own: phpredis does not find its way out of a transaction that failed, without rmux neither.
        $other = new Repository(new RedisStore(manager($client), 'cache:', 'default'));
        $put = fn () => $other->putMany(array_combine($keys, $keys), 60);
        if ($servers === 1) {
            equal($put(), true);
        } else {
            failure(fn () => $put() ?: throw new Exception('refused'));
        }
    });

    check("$client: locks", function () use ($store) {
        $lock = $store->lock('import', 10);
        equal($lock->get(), true);
        equal($store->lock('import', 10)->get(), false);
        equal($lock->release(), true);
        equal($store->lock('import', 10)->block(2, fn () => 'done'), 'done');
    });

    check("$client: rate limit", function () use ($redis) {
        $throttle = fn () => $redis->throttle('calls')->allow(2)->every(60)->block(0);
        $limit = fn () => $throttle()->then(fn () => 'run', fn () => 'later');
        $redis->del('calls');
        equal([$limit(), $limit(), $limit()], ['run', 'run', 'later']);
    });

    check("$client: queue", function () use ($redis, $client) {
        // Its lists and sets are used together: the name is a hash tag.
        $queue = new RedisQueue($redis, "{jobs-$client}", 'default', 60, 1);
        $queue->setContainer(new Container());
        $queue->setConnectionName('redis');
        $queue->pushRaw(json_encode(['id' => 'one', 'attempts' => 0, 'job' => 'x']));
        $job = $queue->pop();
        equal($job->getJobId(), 'one');
        $job->release(0);
        $again = $queue->pop();
        equal([$again->getJobId(), $again->attempts()], ['one', 2]);
        $again->delete();
        equal($queue->size(), 0);
        // It waits on a connection of its own for a second.
        equal($queue->pop(), null);
    });
}

echo "done\n";
