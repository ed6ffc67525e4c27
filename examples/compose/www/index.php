<?php
// Counts its visitors in Redis, through rmux's socket. It connects and leaves for each page, as PHP does.
$redis = new Redis();
$redis->connect('/run/rmux/rmux.sock');
$visits = $redis->incr('visits');
$clients = $redis->info('clients')['connected_clients'];

header('Content-Type: text/plain');
echo "Visit number $visits. Redis has $clients connections.\n";
