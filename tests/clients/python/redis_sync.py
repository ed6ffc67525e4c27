"""redis-py, the synchronous one: every check with RESP2, and with what the version has as its default."""

import threading

import redis
from checks import ADDRESS, DATABASE, KEYS, LOGIN, NAME, SERVERS, check, equal, refused, run


def connect(**more):
    return redis.Redis(**{**ADDRESS, **LOGIN, **more})


client = connect(decode_responses=True)


@check
def connect_and_ping():
    equal(client.ping(), True)


@check
def password_is_needed():
    for wrong in ({"password": "wrong"}, {"password": None}):
        try:
            connect(**wrong).get("key")
        except redis.exceptions.RedisError as error:
            words = ("NOAUTH", "WRONGPASS", "invalid username", "Authentication required", "already authenticated")
            if any(word in str(error) for word in words):
                continue
        raise AssertionError(f"let in with {wrong}")


@check
def user_and_password():
    equal(connect(username="default").ping(), True)


@check
def client_name_and_id():
    equal(client.client_getname(), NAME)
    single = connect(single_connection_client=True)
    equal(isinstance(single.client_id(), int), True)
    equal(single.client_info()["name"], NAME)


@check
def get_and_set_binary():
    raw = connect()
    value = bytes(range(256)) + b"\r\n$5\r\n"
    equal(raw.set("binary", value), True)
    equal(raw.get("binary"), value)
    equal(raw.get("absent"), None)
    equal(client.set("once", "a", nx=True, ex=100), True)
    equal(client.set("once", "b", nx=True), None)
    equal(client.echo("hello"), "hello")


@check
def large_value():
    raw = connect()
    value = b"0123456789abcdef" * 200_000
    raw.set("large", value)
    equal(raw.get("large") == value, True)


@check
def database():
    other = connect(db=DATABASE + 1, decode_responses=True)
    client.set("where", "here")
    equal(other.get("where"), None)
    other.set("where", "there")
    equal(client.get("where"), "here")
    single = connect(single_connection_client=True, decode_responses=True)
    single.execute_command("SELECT", DATABASE + 1)
    equal(single.get("where"), "there")


@check
def hash_list_set_sorted_set():
    client.hset("hash", mapping={"a": 1, "b": 2})
    equal(client.hgetall("hash"), {"a": "1", "b": "2"})
    client.rpush("list", "x", "y", "z")
    equal(client.lrange("list", 0, -1), ["x", "y", "z"])
    client.sadd("set", "m", "n")
    equal(client.smembers("set"), {"m", "n"})
    client.zadd("sorted", {"one": 1, "two": 2.5})
    equal([tuple(pair) for pair in client.zrange("sorted", 0, -1, withscores=True)], [("one", 1.0), ("two", 2.5)])
    equal(client.zscore("sorted", "two"), 2.5)


@check
def pipeline_in_order():
    pipe = client.pipeline(transaction=False)
    for number, key in enumerate(KEYS):
        pipe.set(key, number)
        pipe.get(key)
        pipe.incr("counter")
    replies = pipe.execute()
    equal(replies[1::3], [str(number) for number in range(len(KEYS))])
    equal(replies[2::3], list(range(1, len(KEYS) + 1)))


@check
def several_keys():
    equal(client.mset({key: f"value of {key}" for key in KEYS}), True)
    equal(client.mget(KEYS + ["absent"]), [f"value of {key}" for key in KEYS] + [None])
    equal(client.exists(*KEYS, "absent", KEYS[0]), len(KEYS) + 1)
    equal(client.touch(*KEYS), len(KEYS))
    equal(client.delete(*KEYS[:50], "absent"), 50)
    equal(client.unlink(*KEYS), 50)


@check
def transaction():
    with client.pipeline(transaction=True) as pipe:
        replies = pipe.set("{t}a", 1).incr("{t}a").get("{t}a").hset("{t}h", "f", "v").execute()
    equal(replies, [True, 2, "2", 1])


@check
def transaction_over_several_servers():
    pipe = client.pipeline(transaction=True)
    for key in KEYS:
        pipe.set(key, "inside")
    if SERVERS == 1:
        equal(pipe.execute(), [True] * len(KEYS))
        return
    try:
        pipe.execute()
    except redis.exceptions.ResponseError as error:
        equal(refused(error), True)
    else:
        raise AssertionError("not refused")
    equal([key for key in KEYS if client.get(key) == "inside"], [])
    equal(client.ping(), True)


@check
def watch():
    client.set("{w}", 1)
    with client.pipeline() as pipe:
        pipe.watch("{w}")
        value = int(pipe.get("{w}"))
        pipe.multi()
        pipe.set("{w}", value + 1)
        equal(pipe.execute(), [True])
        pipe.watch("{w}")
        client.set("{w}", 10)
        pipe.multi()
        pipe.set("{w}", 0)
        try:
            pipe.execute()
        except redis.exceptions.WatchError:
            pass
        else:
            raise AssertionError("the change was not seen")
    equal(client.get("{w}"), "10")


@check
def blocking_pop():
    got = []
    thread = threading.Thread(target=lambda: got.append(client.blpop("queue", timeout=8)))
    thread.start()
    client.rpush("queue", "job")
    thread.join(9)
    equal([list(pair) for pair in got], [["queue", "job"]])
    equal(client.blpop("queue", timeout=1), None)
    client.zadd("zqueue", {"first": 1})
    equal(list(client.bzpopmin("zqueue", timeout=1)), ["zqueue", "first", 1.0])
    client.rpush("{q}from", "moved")
    equal(client.blmove("{q}from", "{q}to", 1), "moved")


@check
def publish_and_subscribe():
    subscriber = client.pubsub()
    subscriber.subscribe("news", "other")
    subscriber.psubscribe("n*s")
    seen = [subscriber.get_message(timeout=5) for _ in range(3)]
    equal([message["data"] for message in seen], [1, 2, 3])
    client.publish("news", "hello")
    messages = [subscriber.get_message(timeout=5) for _ in range(2)]
    equal(sorted(message["type"] for message in messages), ["message", "pmessage"])
    equal([message["data"] for message in messages], ["hello", "hello"])
    # What a script publishes on its own server arrives too, and once.
    for key in KEYS[:20]:
        client.eval("return redis.call('publish', 'news', KEYS[1])", 1, key)
    got = [subscriber.get_message(timeout=5)["data"] for _ in range(40)]
    equal(sorted(got), sorted(KEYS[:20] * 2))
    subscriber.unsubscribe()
    subscriber.punsubscribe()
    equal([subscriber.get_message(timeout=5)["data"] for _ in range(3)], [2, 1, 0])
    subscriber.close()


@check
def scripts():
    twice = client.register_script("redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1]) * 2")
    for number, key in enumerate(KEYS):
        equal(twice(keys=[key], args=[number]), number * 2)
    digest = client.script_load("return ARGV[1]")
    equal(client.script_exists(digest), [True])
    for key in KEYS[:20]:
        equal(client.evalsha(digest, 1, key, "argument"), "argument")
    equal(client.eval("return 7", 0), 7)
    try:
        client.evalsha("0" * 40, 1, "key")
    except redis.exceptions.NoScriptError:
        return
    raise AssertionError("no NOSCRIPT")


@check
def scan_all_keys():
    client.flushdb()
    client.mset({key: 1 for key in KEYS})
    equal(sorted(client.scan_iter(count=7)), sorted(KEYS))
    equal(sorted(client.scan_iter(match="key:1*")), sorted(key for key in KEYS if key.startswith("key:1")))
    equal(client.dbsize(), len(KEYS))
    equal(sorted(client.keys("*")), sorted(KEYS))
    equal(client.randomkey() in KEYS, True)


@check
def streams():
    client.xgroup_create("stream", "group", mkstream=True)
    entry = client.xadd("stream", {"f": "v"})
    replies = client.xreadgroup("group", "one", {"stream": ">"}, block=1000)
    name, entries = next(iter(replies.items())) if isinstance(replies, dict) else replies[0]
    entries = entries[0] if isinstance(replies, dict) else entries
    equal((name, [tuple(pair) for pair in entries]), ("stream", [(entry, {"f": "v"})]))
    equal(client.xack("stream", "group", entry), 1)
    equal(not client.xread({"stream": "$"}, block=20), True)


@check
def errors_keep_the_connection():
    single = connect(single_connection_client=True)
    single.set("text", "abc")
    for wrong in (lambda: single.lpush("text", 1), lambda: single.execute_command("NOSUCH", "a")):
        try:
            wrong()
        except redis.exceptions.ResponseError:
            continue
        raise AssertionError("no error")
    equal(single.get("text"), b"abc")


@check
def information():
    equal(client.info()["redis_version"].count("."), 2)
    equal(client.info("replication")["role"], "master")
    equal("databases" in client.config_get("databases"), True)


@check
def resp3_when_asked():
    other = connect(protocol=3, decode_responses=True)
    other.hset("resp3", mapping={"a": 1})
    equal(other.hgetall("resp3"), {"a": "1"})
    other.zadd("resp3z", {"m": 1.5})
    equal(other.zscore("resp3z", "m"), 1.5)
    subscriber = other.pubsub()
    subscriber.subscribe("three")
    equal(subscriber.get_message(timeout=5)["type"], "subscribe")
    other.publish("three", "x")
    equal(subscriber.get_message(timeout=5)["data"], "x")


@check
def resp2_when_asked():
    other = connect(protocol=2, decode_responses=True)
    other.hset("resp2", mapping={"a": 1})
    equal(other.hgetall("resp2"), {"a": "1"})


run("redis-py", redis.__version__)
