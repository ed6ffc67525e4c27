"""Writes for 14 s, one after the other, and says for how long none succeeded, and how many failed. No retries.

Makes the file that its second argument names when a thousand are written.
"""
import pathlib
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

how = {"socket_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
if sys.argv[1] == "rmux":
    client = redis.Redis(port=27700, **how)
else:
    sentinels = Sentinel([("127.0.0.1", port) for port in (27901, 27902, 27903)], socket_timeout=0.5)
    client = sentinels.master_for("cache-1", **how)
end = time.time() + 14
last, worst, errors, done = time.time(), 0.0, 0, 0
while time.time() < end:
    try:
        client.set("key-" + sys.argv[1], done)
        worst, last, done = max(worst, time.time() - last), time.time(), done + 1
        if done == 1000:
            pathlib.Path(sys.argv[2]).touch()
    except redis.RedisError:
        errors += 1
        time.sleep(0.002)
print(f"  {sys.argv[1]:8}  none for {worst * 1000:5.0f} ms   {errors:4} errors   {done:5} writes")
