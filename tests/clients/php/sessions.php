<?php
// phpredis as PHP's session handler, with locking: the lock is a key of its own, and a script releases it.
//
// Each request is a PHP of its own, as php-fpm's are to a session.

declare(strict_types=1);
require __DIR__ . '/checks.php';

function request(string $script, array $settings = []): string
{
    [$process, $output] = begin($script, $settings);
    return finish($process, $output);
}

function begin(string $script, array $settings = []): array
{
    global $socket, $host, $port, $auth, $database;
    $address = $socket !== '' ? "unix://$socket" : "tcp://$host:$port";
    $settings += [
        'session.save_handler' => 'redis',
        'session.save_path' => "$address?{$auth}database=$database&timeout=5",
        'session.use_cookies' => '0',
        'redis.session.locking_enabled' => '1',
        'redis.session.lock_wait_time' => '20000',
        'redis.session.lock_retries' => '400',
    ];
    $command = ['php', '-d', 'session.cache_limiter='];
    foreach ($settings as $name => $value) {
        array_push($command, '-d', "$name=\"$value\"");
    }
    array_push($command, '-r', $script);
    $process = proc_open($command, [1 => ['pipe', 'w'], 2 => STDERR], $pipes);
    return [$process, $pipes[1]];
}

function finish($process, $output): string
{
    $text = stream_get_contents($output);
    equal(proc_close($process), 0);
    return $text;
}

const ADD = 'ob_start(); session_id("%s"); session_start(); $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1; usleep(%d);
    echo $_SESSION["n"]; session_write_close();';

$auth = $password !== '' ? "auth=$password&" : '';
echo 'client phpredis-sessions ', phpversion('redis'), "\n";

$client = new Redis();
$socket !== '' ? $client->connect($socket) : $client->connect($host, $port, 5);
$password === '' || $client->auth($password);
$client->select($database);

check('a session lasts', function () use ($client) {
    for ($round = 1; $round <= 3; $round++) {
        equal(request(sprintf(ADD, 'lasting', 0)), (string) $round);
    }
    equal($client->get('PHPREDIS_SESSION:lasting'), 'n|i:3;');
    equal($client->exists('PHPREDIS_SESSION:lasting_LOCK'), 0);
});

check('a lock lets one in at a time', function () {
    $running = array_map(fn () => begin(sprintf(ADD, 'locked', 20000)), range(1, 6));
    $counted = array_map(fn (array $one): string => finish(...$one), $running);
    sort($counted);
    equal($counted, ['1', '2', '3', '4', '5', '6']);
});

check('a lock that ends by itself', function () use ($client) {
    $client->set('PHPREDIS_SESSION:left_LOCK', 'someone', ['nx', 'px' => 300]);
    equal(request(sprintf(ADD, 'left', 0), ['redis.session.lock_expire' => '1']), '1');
});

check('persistent connections', function () use ($socket, $host, $port, $auth, $database) {
    $address = $socket !== '' ? "unix://$socket" : "tcp://$host:$port";
    $path = "$address?{$auth}database=$database&persistent=1&timeout=5";
    $twice = 'for ($i = 0; $i < 3; $i++) {' . sprintf(ADD, 'persistent', 0) . '}';
    equal(request($twice, ['session.save_path' => $path]), '123');
});

check('a session is destroyed', function () use ($client) {
    request(sprintf(ADD, 'ended', 0));
    request('session_id("ended"); session_start(); session_destroy();');
    equal($client->exists('PHPREDIS_SESSION:ended'), 0);
});

check('strict mode gives a new id', function () {
    $strict = ['session.use_strict_mode' => '1'];
    equal(request('session_id("unknown"); session_start(); echo session_id() === "unknown" ? 1 : 0;', $strict), '0');
});

echo "done\n";
