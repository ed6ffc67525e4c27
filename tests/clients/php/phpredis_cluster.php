<?php
// phpredis's client for clusters: rmux tells it of one node, which is rmux (clusterAnnounce).

declare(strict_types=1);

require __DIR__ . '/checks.php';

echo 'client phpredis-cluster ', phpversion('redis'), "\n";
$client = new RedisCluster(null, ["$host:$port"], 10, 10, false, $password);

check('one node with all slots', function () use ($client, $host, $port) {
    equal($client->_masters(), [[$host, $port]]);
});

check('get and set', function () use ($client, $keys) {
    foreach ($keys as $key) {
        equal($client->set($key, $key), true);
        equal($client->get($key), $key);
    }
});

check('several keys', function () use ($client, $keys) {
    equal($client->mSet(array_combine($keys, $keys)), true);
    equal($client->mGet([...$keys, 'absent']), [...$keys, false]);
    equal($client->del($keys), 100);
});

check('transaction', function () use ($client) {
    $client->multi();
    $client->set('{t}a', '1');
    $client->incr('{t}a');
    equal($client->exec(), [true, 2]);
});

check('scripts', function () use ($client, $keys) {
    foreach ($keys as $key) {
        equal($client->eval('return KEYS[1]', [$key], 1), $key);
    }
});

check('scan all keys', function () use ($client, $keys, $host, $port) {
    $client->flushDB([$host, $port]);
    $client->mSet(array_combine($keys, $keys));
    $client->setOption(Redis::OPT_SCAN, (string) Redis::SCAN_RETRY);
    $seen = [];
    for ($cursor = null; $found = $client->scan($cursor, [$host, $port], '*', 7);) {
        $seen = [...$seen, ...$found];
    }
    $seen = array_unique($seen);
    sort($seen);
    sort($keys);
    equal($seen, $keys);
});

echo "done\n";
