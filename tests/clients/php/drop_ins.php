<?php
// What WordPress's and Magento's libraries ask of phpredis, call by call; Debian does not package the libraries.
//
// WordPress: the drop-in of the plugin Redis Object Cache. Magento: Cm_Cache_Backend_Redis, which writes an entry and
// its tags in one transaction and so needs one server; and Cm_RedisSession, whose session is one key.

declare(strict_types=1);
require __DIR__ . '/checks.php';

function connect(bool $persistent = false): Redis
{
    global $socket, $host, $port, $password, $database;
    $client = new Redis();
    // The drop-in's port for a Unix socket is -1.
    $arguments = $socket !== '' ? [$socket, -1, 1, null, 0, 2] : [$host, $port, 1, null, 0, 2];
    $persistent ? $client->pconnect(...$arguments) : $client->connect(...$arguments);
    if ($password !== '') {
        equal($client->auth($password), true);
    }
    equal($client->select($database), true);
    return $client;
}

echo 'client phpredis-drop-ins ', phpversion('redis'), "\n";

check('WordPress: connect, ping, version', function () {
    $client = connect();
    $client->setOption(Redis::OPT_READ_TIMEOUT, '1');
    equal(in_array($client->ping(), [true, '+PONG'], true), true);
    equal(isset($client->info()['redis_version']), true);
});

check('WordPress: a page', function () use ($keys) {
    $client = connect();
    equal($client->set('wp:options:alloptions', serialize(['siteurl' => 'http://localhost'])), true);
    equal($client->setex('wp:posts:1', 3600, serialize((object) ['ID' => 1])), true);
    equal($client->exists('wp:posts:1') > 0, true);
    foreach ($keys as $key) {
        $client->set("wp:$key", $key);
    }
    // wp_cache_get_multiple
    equal($client->mget(array_map(fn ($key) => "wp:$key", $keys)), $keys);
    equal($client->mget(['wp:options:alloptions', 'wp:none'])[1], false);
    // wp_cache_set_multiple
    $pipe = $client->pipeline();
    foreach ($keys as $key) {
        $pipe->setex("wp:$key", 60, $key);
    }
    equal(array_unique($pipe->exec()), [true]);
    equal([$client->incrBy('wp:counts:x', 5), $client->decrBy('wp:counts:x', 2)], [5, 3]);
    equal($client->del('wp:counts:x', 'wp:posts:1') > 0, true);
});

check('WordPress: flush', function () use ($servers) {
    $client = connect();
    $client->set('wp:a', '1');
    $client->set('other', '1');
    // WP_REDIS_SELECTIVE_FLUSH: a script scans, and a script sees the server that it runs on.
    $script = "local cur = 0 local i = 0 local tmp repeat tmp = redis.call('SCAN', cur, 'MATCH', ARGV[1]) "
        . "cur = tonumber(tmp[1]) for _, key in ipairs(tmp[2]) do redis.call('DEL', key) i = i + 1 end "
        . "until cur == 0 return i";
    if ($servers === 1) {
        equal($client->eval($script, ['wp:*'], 0) >= 1, true);
        equal([$client->exists('wp:a'), $client->get('other')], [0, '1']);
    }
    equal($client->flushDB(), true);
    equal($client->get('other'), false);
});

if ($servers === 1) {
    check('Magento cache: save, load, clean by tag', function () {
        $client = connect(true);
        $save = function (string $id, array $tags) use ($client) {
            $pipe = $client->multi(Redis::MULTI);
            $pipe->hMSet("zc:k:$id", ['d' => "data of $id", 't' => implode(',', $tags), 'm' => time(), 'i' => 0]);
            $pipe->expire("zc:k:$id", 3600);
            $pipe->sAdd('zc:tags', ...$tags);
            array_map(fn ($tag) => $pipe->sAdd("zc:ti:$tag", $id), $tags);
            $pipe->sAdd('zc:ids', $id);
            equal(count($pipe->exec()), 4 + count($tags));
        };
        $save('BLOCK_1', ['CATALOG', 'CMS']);
        $save('BLOCK_2', ['CATALOG']);
        equal($client->hGet('zc:k:BLOCK_1', 'd'), 'data of BLOCK_1');
        $ids = $client->sUnion('zc:ti:CATALOG', 'zc:ti:CMS');
        sort($ids);
        equal($ids, ['BLOCK_1', 'BLOCK_2']);
        $pipe = $client->multi(Redis::PIPELINE);
        $pipe->del(array_map(fn ($id) => "zc:k:$id", $ids));
        $pipe->del('zc:ti:CATALOG', 'zc:ti:CMS');
        $pipe->sRem('zc:tags', 'CATALOG', 'CMS');
        equal($pipe->exec()[0], 2);
        equal($client->hGet('zc:k:BLOCK_1', 'd'), false);
    });
} else {
    echo "skip Magento cache: an entry and its tags are one transaction, on one server\n";
}

check('Magento session: lock, read, write, unlock', function () {
    $client = connect();
    $key = 'sess_' . bin2hex(random_bytes(8));
    equal($client->hIncrBy($key, 'lock', 1), 1);
    $pipe = $client->multi(Redis::PIPELINE);
    $pipe->hMSet($key, ['pid' => 'host|1', 'data' => 'cart|3', 'lock' => 0]);
    $pipe->hIncrBy($key, 'writes', 1);
    $pipe->expire($key, 3600);
    equal($pipe->exec(), [true, 1, true]);
    equal($client->hMGet($key, ['data', 'writes']), ['data' => 'cart|3', 'writes' => '1']);
    equal($client->del($key), 1);
});

echo "done\n";
