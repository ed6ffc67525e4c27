<?php
// phpredis: connect, pconnect with its ECHO, pipelines, transactions step by step, blocking commands, subscriptions.

declare(strict_types=1);
require __DIR__ . '/checks.php';

function login(Redis $client): Redis
{
    global $password, $database, $name;
    if ($password !== '') {
        equal($client->auth($password), true);
    }
    equal($client->select($database), true);
    $client->client('setname', $name);
    return $client;
}

function connect(): Redis
{
    global $socket, $host, $port;
    $client = new Redis();
    equal($socket !== '' ? $client->connect($socket) : $client->connect($host, $port, 5), true);
    return login($client);
}

function pconnect(): Redis
{
    global $socket, $host, $port, $password;
    $client = new Redis();
    $options = $password !== '' ? ['auth' => $password] : [];
    $done = $socket !== ''
        ? $client->pconnect($socket, 0, 0, 'one', 0, 0, $options)
        : $client->pconnect($host, $port, 5, 'one', 0, 0, $options);
    equal($done, true);
    return $client;
}

// A second PHP beside this one: its script, and a stream to read what it prints.
function beside(string $script): array
{
    $command = ['php', '-r', 'require $argv[1]; ' . $script, '--', __FILE__];
    $process = proc_open($command, [1 => ['pipe', 'w'], 2 => STDERR], $pipes, null, getenv() + ['BESIDE' => '1']);
    return [$process, $pipes[1]];
}

if (getenv('BESIDE')) {
    return;
}

echo 'client phpredis ', phpversion('redis'), "\n";
$client = connect();

check('connect and ping', function () use ($client, $name) {
    equal($client->ping(), true);
    equal($client->ping('hello'), 'hello');
    equal($client->echo("a\0b\r\n"), "a\0b\r\n");
    equal($client->client('getname'), $name);
});

check('a wrong password is refused', function () use ($socket, $host, $port) {
    $other = new Redis();
    $socket !== '' ? $other->connect($socket) : $other->connect($host, $port, 5);
    equal(str_contains(failure(fn () => $other->get('key')), 'NOAUTH'), true);
    equal(str_contains(failure(fn () => $other->auth('wrong')), 'WRONGPASS'), true);
});

check('user and password', function () use ($socket, $host, $port, $password) {
    $other = new Redis();
    $socket !== '' ? $other->connect($socket) : $other->connect($host, $port, 5);
    equal($other->auth(['default', $password]), true);
});

check('get and set, binary and large', function () use ($client) {
    $value = str_repeat(implode('', array_map('chr', range(0, 255))), 5000);
    equal($client->set('large', $value), true);
    equal($client->get('large') === $value, true);
    equal($client->get('absent'), false);
    equal($client->set('once', 'a', ['nx', 'ex' => 100]), true);
    equal($client->set('once', 'a', ['nx', 'ex' => 100]), false);
});

check('database', function () use ($client, $database) {
    $client->set('where', 'here');
    $other = connect();
    $other->select($database + 1);
    equal($other->get('where'), false);
    equal($client->get('where'), 'here');
});

check('hash, list, set, sorted set', function () use ($client) {
    $client->hMSet('hash', ['a' => '1', 'b' => '2']);
    equal($client->hGetAll('hash'), ['a' => '1', 'b' => '2']);
    $client->rPush('list', 'x', 'y');
    equal($client->lRange('list', 0, -1), ['x', 'y']);
    $client->zAdd('sorted', 1.5, 'm');
    equal($client->zRange('sorted', 0, -1, true), ['m' => 1.5]);
});

check('pipeline in order', function () use ($client, $keys) {
    $pipe = $client->pipeline();
    foreach ($keys as $number => $key) {
        $pipe->set($key, (string) $number)->get($key);
    }
    $replies = $pipe->exec();
    equal(array_values(array_filter($replies, 'is_string')), array_map('strval', array_keys($keys)));
});

check('several keys', function () use ($client, $keys) {
    equal($client->mSet(array_combine($keys, $keys)), true);
    equal($client->mGet([...$keys, 'absent']), [...$keys, false]);
    equal($client->exists($keys), 100);
    equal($client->del(array_slice($keys, 0, 50)), 50);
    equal($client->unlink($keys), 50);
});

check('pconnect keeps its connection and its database', function () use ($database) {
    $first = pconnect();
    $first->select($database + 2);
    $first->set('kept', 'yes');
    $id = $first->client('id');
    for ($round = 0; $round < 3; $round++) {
        // Back to the pool, and out of it again with an ECHO.
        unset($first);
        $first = pconnect();
        equal($first->client('id'), $id);
        equal($first->get('kept'), 'yes');
    }
});

check('transaction, step by step', function () use ($client) {
    equal($client->multi()->set('{t}a', '1')->incr('{t}a')->get('{t}a')->exec(), [true, 2, '2']);
    $client->multi();
    $client->set('{t}a', 'x');
    equal($client->discard(), true);
    equal($client->get('{t}a'), '2');
});

check('transaction over several servers', function () use ($keys, $servers) {
    $all = function () use ($keys) {
        $multi = connect()->multi();
        foreach ($keys as $key) {
            $multi->set($key, 'inside');
        }
        return $multi->exec();
    };
    if ($servers === 1) {
        equal($all(), array_fill(0, 100, true));
        return;
    }
    equal(preg_match('/CROSSSLOT|EXECABORT/', failure($all)), 1);
    equal(array_filter(connect()->mGet($keys), fn ($value) => $value === 'inside'), []);
});

check('one that is destroyed in a transaction', function () {
    $other = connect();
    $other->multi();
    $other->set('{t}gone', '1');
    unset($other);
    equal(connect()->get('{t}gone'), false);
});

check('watch', function () {
    [$one, $other] = [connect(), connect()];
    $one->set('{w}', '1');
    $one->watch('{w}');
    $other->set('{w}', '10');
    equal($one->multi()->set('{w}', '0')->exec(), false);
    $one->watch('{w}');
    equal($one->multi()->set('{w}', '2')->exec(), [true]);
    $one->watch('{w}');
    equal($one->unwatch(), true);
});

check('blocking pop', function () {
    [$process, $output] = beside('echo json_encode(connect()->blPop(["queue"], 8));');
    $client = connect();
    $client->rPush('queue', 'job');
    equal(stream_get_contents($output), '["queue","job"]');
    proc_close($process);
    equal($client->blPop(['queue'], 1), []);
    $client->rPush('{q}from', 'moved');
    equal($client->brpoplpush('{q}from', '{q}to', 1), 'moved');
});

check('publish and subscribe', function () {
    [$process, $output] = beside('
        $client = connect();
        $client->setOption(Redis::OPT_READ_TIMEOUT, 8);
        $client->subscribe(["news"], function ($client, $channel, $message) {
            echo "$channel $message\n";
            if ($message === "last") exit;
        });');
    $client = connect();
    // The number of receivers says when the other one listens.
    for ($deadline = microtime(true) + 8; $client->publish('news', 'first') === 0;) {
        equal(microtime(true) < $deadline, true);
    }
    $client->publish('news', 'last');
    $heard = stream_get_contents($output);
    equal([str_contains($heard, "news first\n"), str_ends_with($heard, "news last\n")], [true, true]);
    proc_close($process);
});

check('scripts', function () use ($client, $keys) {
    $script = 'redis.call("set", KEYS[1], ARGV[1]) return redis.call("get", KEYS[1])';
    equal($client->eval($script, ['k', 'v'], 1), 'v');
    foreach (array_slice($keys, 0, 20) as $key) {
        equal($client->evalSha(sha1($script), [$key, 'v'], 1), 'v');
    }
    $digest = $client->script('load', 'return 7');
    equal([$client->evalSha($digest), $client->script('exists', $digest)], [7, [1]]);
    equal([$client->evalSha(str_repeat('0', 40)), str_contains($client->getLastError(), 'NOSCRIPT')], [false, true]);
});

check('scan all keys', function () use ($client, $keys) {
    $client->flushDB();
    $client->mSet(array_combine($keys, $keys));
    $client->setOption(Redis::OPT_SCAN, (string) Redis::SCAN_RETRY);
    $seen = [];
    for ($cursor = null; $found = $client->scan($cursor, '*', 7);) {
        $seen = [...$seen, ...$found];
    }
    $seen = array_unique($seen);
    sort($seen);
    sort($keys);
    equal($seen, $keys);
    equal($client->dbSize(), 100);
});

check('errors keep the connection', function () use ($client) {
    $client->set('text', 'abc');
    equal([$client->lPush('text', 'x'), str_contains($client->getLastError(), 'WRONGTYPE')], [false, true]);
    equal($client->get('text'), 'abc');
});

check('information', function () use ($client) {
    equal(preg_match('/^\d+\.\d+/', $client->info()['redis_version']), 1);
    equal($client->config('GET', 'databases'), ['databases' => '16']);
});

echo "done\n";
