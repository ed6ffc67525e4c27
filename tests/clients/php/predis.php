<?php
// predis: PHP's own Redis client, which throws at any error.

declare(strict_types=1);
require __DIR__ . '/checks.php';
require 'Predis/Autoloader.php';
Predis\Autoloader::register();

function connect(array $more = []): Predis\Client
{
    global $socket, $host, $port, $password, $database;
    $address = $socket !== '' ? ['scheme' => 'unix', 'path' => $socket] : ['host' => $host, 'port' => $port];
    return new Predis\Client($more + $address + ['password' => $password ?: null, 'database' => $database]);
}

echo 'client predis ', Predis\Client::VERSION, "\n";
$client = connect();

check('connect and ping', function () use ($client, $name) {
    equal((string) $client->ping(), 'PONG');
    equal((string) $client->client('setname', $name), 'OK');
    equal($client->client('getname'), $name);
});

check('a wrong password is refused', function () {
    equal(str_contains(failure(fn () => connect(['password' => 'wrong'])->ping()), 'WRONGPASS'), true);
});

check('get, set, hash', function () use ($client) {
    $client->set('a', "binary\0\r\n");
    equal($client->get('a'), "binary\0\r\n");
    $client->hmset('hash', ['a' => '1', 'b' => '2']);
    equal($client->hgetall('hash'), ['a' => '1', 'b' => '2']);
});

check('database', function () use ($client, $database) {
    $client->set('where', 'here');
    equal(connect(['database' => $database + 1])->get('where'), null);
});

check('pipeline and several keys', function () use ($client, $keys) {
    $replies = $client->pipeline(function ($pipe) use ($keys) {
        foreach ($keys as $number => $key) {
            $pipe->set($key, $number);
            $pipe->get($key);
        }
    });
    equal(array_values(array_filter($replies, 'is_string')), array_map('strval', array_keys($keys)));
    equal((string) $client->mset(array_combine($keys, $keys)), 'OK');
    equal($client->mget($keys), $keys);
    equal($client->del($keys), 100);
});

check('transaction', function () use ($client) {
    $replies = $client->transaction(function ($transaction) {
        $transaction->set('{t}a', 1);
        $transaction->incr('{t}a');
    });
    equal($replies[1], 2);
});

check('watch', function () use ($client) {
    $client->set('{w}', '1');
    $options = ['watch' => '{w}', 'cas' => true];
    equal(str_contains(failure(fn () => $client->transaction($options, function ($transaction) {
        equal($transaction->get('{w}'), '1');
        connect()->set('{w}', '10');
        $transaction->multi();
        $transaction->set('{w}', '0');
    })), 'aborted'), true);
    equal($client->get('{w}'), '10');
});

check('transaction over several servers', function () use ($keys, $servers) {
    $all = fn () => connect()->transaction(function ($transaction) use ($keys) {
        foreach ($keys as $key) {
            $transaction->set($key, 'inside');
        }
    });
    if ($servers === 1) {
        equal(count($all()), 100);
        return;
    }
    equal(preg_match('/CROSSSLOT|EXECABORT/', failure($all)), 1);
    equal(array_filter(connect()->mget($keys), fn ($value) => $value === 'inside'), []);
});

check('blocking pop', function () use ($client) {
    $client->rpush('queue', ['job']);
    equal($client->blpop(['queue'], 5), ['queue', 'job']);
    equal($client->blpop(['queue'], 1), null);
});

check('publish and subscribe', function () use ($client) {
    $loop = connect(['read_write_timeout' => 8])->pubSubLoop();
    $loop->subscribe('news');
    foreach ($loop as $message) {
        if ($message->kind === 'subscribe') {
            equal($client->publish('news', 'hello') > 0, true);
        } elseif ($message->kind === 'message') {
            equal($message->payload, 'hello');
            $loop->unsubscribe();
        }
    }
});

check('scripts', function () use ($client, $keys) {
    equal($client->eval('return ARGV[1]', 1, 'k', 'v'), 'v');
    foreach (array_slice($keys, 0, 20) as $key) {
        equal($client->evalsha(sha1('return ARGV[1]'), 1, $key, 'v'), 'v');
    }
});

check('scan all keys', function () use ($client, $keys) {
    $client->flushdb();
    $client->mset(array_combine($keys, $keys));
    $seen = array_unique(iterator_to_array(new Predis\Collection\Iterator\Keyspace($client, 'key:*', 7), false));
    sort($seen);
    sort($keys);
    equal($seen, $keys);
});

check('errors keep the connection', function () use ($client) {
    $client->set('text', 'abc');
    equal(str_contains(failure(fn () => $client->lpush('text', ['x'])), 'WRONGTYPE'), true);
    equal($client->get('text'), 'abc');
});

check('quit', fn () => $client->quit());

echo "done\n";
