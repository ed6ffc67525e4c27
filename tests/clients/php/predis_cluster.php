<?php
// predis's client for clusters: rmux tells it of one node, which is rmux (clusterAnnounce).

declare(strict_types=1);
require __DIR__ . '/checks.php';
require 'Predis/Autoloader.php';
Predis\Autoloader::register();

echo 'client predis-cluster ', Predis\Client::VERSION, "\n";
$options = ['cluster' => 'redis', 'parameters' => ['password' => $password]];
$client = new Predis\Client(["tcp://$host:$port"], $options);

check('get and set', function () use ($client, $keys) {
    foreach ($keys as $key) {
        equal((string) $client->set($key, $key), 'OK');
        equal($client->get($key), $key);
    }
});

check('one node with all slots', function () use ($client, $host, $port) {
    foreach ([0, 8000, 16383] as $slot) {
        equal((string) $client->getConnection()->getConnectionBySlot($slot), "$host:$port");
    }
});

check('several keys of one slot', function () use ($client) {
    equal((string) $client->mset(['{t}a' => '1', '{t}b' => '2']), 'OK');
    equal($client->mget(['{t}a', '{t}b']), ['1', '2']);
    equal($client->del(['{t}a', '{t}b']), 2);
});

check('scripts', function () use ($client, $keys) {
    foreach ($keys as $key) {
        equal($client->eval('return KEYS[1]', 1, $key), $key);
    }
});

echo "done\n";
