"""What a program in Python does in a second: with redis-py's RedisCluster, and with a plain client through rmux.

Usage: python.py SOCKET PORT ROUNDS. Three jobs, in turns: a GET after the other on one connection; an MGET of 100 keys
of any slots; and what a short-lived process does, a client made, a GET, and the client closed. Prints medians, and the
CPU time of this process per job, in microseconds, since a machine with few cores shares them with the servers.
"""

import statistics
import sys
import time

import redis

SECONDS = 1.0
KEYS = [f"key:{number:012}" for number in range(100)]


def cluster(port):
    return redis.RedisCluster(host="127.0.0.1", port=port)


def plain(socket):
    return redis.Redis(unix_socket_path=socket)


def once(connect):
    client = connect()
    client.get(KEYS[0])
    client.close()


def measure(job):
    """How often it is done in a second, and the CPU time of each, in microseconds."""
    job()
    done, begin, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < SECONDS:
        job()
        done += 1
    return done / (time.perf_counter() - begin), (time.process_time() - cpu) / done * 1e6


def main():
    socket, port, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    straight, through = cluster(port), plain(socket)
    jobs = {
        "GET": (lambda: straight.get(KEYS[7]), lambda: through.get(KEYS[7])),
        "MGET of 100 keys": (lambda: straight.mget_nonatomic(KEYS), lambda: through.mget(KEYS)),
        "connect, GET, close": (lambda: once(lambda: cluster(port)), lambda: once(lambda: plain(socket))),
    }
    for name, pair in jobs.items():
        figures = [[], []]
        for _ in range(rounds):
            for index, job in enumerate(pair):
                figures[index].append(measure(job))
        rates, cpu = ([[statistics.median(column) for column in zip(*one)][index] for one in figures] for index in (0, 1))
        print(
            f"redis-py, {name}: RedisCluster {rates[0]:.0f} a second, {cpu[0]:.0f} us of CPU;"
            f" plain, through rmux {rates[1]:.0f}, {cpu[1]:.0f} us"
        )


main()
