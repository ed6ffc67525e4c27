"""redis-py, the asyncio one: many connections at once, and what its own protocol code does differently."""

import asyncio

import redis
import redis.asyncio
from checks import ADDRESS, KEYS, LOGIN, NAME, SERVERS, check, equal, refused, run


def connect(**more):
    return redis.asyncio.Redis(**{**ADDRESS, **LOGIN, "decode_responses": True, **more})


client = connect()


@check
async def connect_and_ping():
    equal(await client.ping(), True)
    equal(await client.client_getname(), NAME)


@check
async def a_wrong_password_is_refused():
    other = connect(password="wrong")
    try:
        await other.ping()
    except redis.exceptions.RedisError as error:
        equal("WRONGPASS" in str(error) or "invalid username-password" in str(error), True)
    else:
        raise AssertionError("let in")


@check
async def many_at_once():
    async def one(number):
        key = f"many:{number}"
        await client.set(key, number)
        await client.hset(f"h{key}", mapping={"n": number})
        equal(await client.get(key), str(number))
        equal(await client.hgetall(f"h{key}"), {"n": str(number)})

    await asyncio.gather(*(one(number) for number in range(100)))


@check
async def pipeline_and_several_keys():
    async with client.pipeline(transaction=False) as pipe:
        for number, key in enumerate(KEYS):
            pipe.set(key, number).get(key)
        replies = await pipe.execute()
    equal(replies[1::2], [str(number) for number in range(len(KEYS))])
    await client.mset({key: key for key in KEYS})
    equal(await client.mget(KEYS), KEYS)
    equal(await client.delete(*KEYS), len(KEYS))


@check
async def transaction_and_watch():
    async with client.pipeline(transaction=True) as pipe:
        equal(await pipe.set("{t}a", 1).incr("{t}a").execute(), [True, 2])
    async with client.pipeline() as pipe:
        await pipe.watch("{t}a")
        equal(await pipe.get("{t}a"), "2")
        await client.set("{t}a", 5)
        pipe.multi()
        pipe.set("{t}a", 0)
        try:
            await pipe.execute()
        except redis.exceptions.WatchError:
            pass
        else:
            raise AssertionError("the change was not seen")
    equal(await client.get("{t}a"), "5")


@check
async def transaction_over_several_servers():
    async with client.pipeline(transaction=True) as pipe:
        for key in KEYS:
            pipe.set(key, "inside")
        if SERVERS == 1:
            equal(await pipe.execute(), [True] * len(KEYS))
            return
        try:
            await pipe.execute()
        except redis.exceptions.ResponseError as error:
            equal(refused(error), True)
        else:
            raise AssertionError("not refused")
    equal([value for value in [await client.get(key) for key in KEYS] if value == "inside"], [])


@check
async def many_block_at_once():
    waiting = [asyncio.ensure_future(client.blpop(f"queue:{number}", timeout=8)) for number in range(20)]
    await asyncio.sleep(0)
    for number in range(20):
        await client.rpush(f"queue:{number}", number)
    got = await asyncio.gather(*waiting)
    equal([list(pair) for pair in got], [[f"queue:{number}", str(number)] for number in range(20)])
    equal(await client.blpop("queue:0", timeout=1), None)


@check
async def one_who_leaves_while_it_blocks_loses_nothing():
    for number in range(50):
        key, begun = f"{{left:{number}}}", f"{{left:{number}}}:begun"
        connection = client.connection_pool.make_connection()
        await connection.connect()
        await connection.send_packed_command(connection.pack_commands([("SET", begun, 1), ("BLPOP", key, 0)]))
        while await client.exists(begun) == 0:
            pass
        # rmux sends what waits on a connection of its own, behind the reply to the write: who has seen the write, and had
        # two more replies, has seen it wait.
        await client.exists(begun)
        await client.exists(begun)
        # Redis frees a connection that has ended when its turn is over; what is pushed in the same turn it still gives
        # to that one. So another request comes in between.
        await connection.disconnect()
        await client.exists(begun)
        await client.rpush(key, "kept")
        equal(await client.lpop(key), "kept")


@check
async def publish_and_subscribe():
    async with client.pubsub() as subscriber:
        await subscriber.subscribe("news")
        await subscriber.psubscribe("new?")
        for _ in range(2):
            await subscriber.get_message(timeout=5)
        for number in range(50):
            await client.publish("news", number)
        got = [(await subscriber.get_message(timeout=5))["data"] for _ in range(100)]
        equal(sorted(got, key=int), [str(number // 2) for number in range(100)])


@check
async def scripts_and_scan():
    script = client.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
    await client.flushdb()
    for key in KEYS:
        equal(await script(keys=[key], args=[3]), 3)
    equal(sorted([key async for key in client.scan_iter(count=5)]), sorted(KEYS))


@check
async def lock():
    async with client.lock("lock", timeout=5):
        equal(await client.lock("lock", timeout=5, blocking=False).acquire(), False)
    equal(await client.exists("lock"), 0)


run("redis-py-asyncio", redis.__version__)
