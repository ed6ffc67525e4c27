<?php
// What the PHP scripts share: where rmux is, and how the outcome of a check is told.
//
// A check passes when its function returns and has failed when it throws; a warning of PHP's counts as thrown.

declare(strict_types=1);

$password = (string) getenv('RMUX_PASSWORD');
$database = (int) getenv('RMUX_DATABASE');
$name = (string) getenv('RMUX_NAME');
$servers = (int) getenv('RMUX_SERVERS');
$socket = (string) getenv('RMUX_SOCKET');
$host = (string) getenv('RMUX_HOST');
$port = (int) getenv('RMUX_PORT');

// Keys enough that three servers all have some of them.
$keys = array_map(fn (int $number): string => "key:$number", range(0, 99));

set_error_handler(function (int $level, string $message): bool {
    throw new ErrorException($message, 0, $level);
}, E_ALL & ~E_DEPRECATED);

function check(string $title, callable $perform): void
{
    try {
        $perform();
        echo "ok $title\n";
    } catch (Throwable $error) {
        fwrite(STDERR, "$error\n");
        echo "not ok $title: ", substr(preg_replace('/\s+/', ' ', $error->getMessage()), 0, 200), "\n";
    }
}

function equal(mixed $got, mixed $wanted): void
{
    if ($got !== $wanted) {
        throw new Exception('got ' . substr(json_encode($got) ?: '?', 0, 100)
            . ', wanted ' . substr(json_encode($wanted) ?: '?', 0, 100));
    }
}

// What the function's exception says.
function failure(callable $perform): string
{
    try {
        $value = $perform();
    } catch (Throwable $error) {
        return $error->getMessage();
    }
    throw new Exception('no error, but ' . json_encode($value));
}
