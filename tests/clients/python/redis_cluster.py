"""redis-py's client for clusters: rmux tells it of one node, which is rmux (clusterAnnounce)."""

import redis
from checks import HOST, KEYS, PASSWORD, PORT, check, equal, run

client = redis.RedisCluster(host=HOST, port=PORT, password=PASSWORD, socket_timeout=10, decode_responses=True)


@check
def one_node_with_all_slots():
    equal([(node.host, node.port, node.server_type) for node in client.get_nodes()], [(HOST, PORT, "primary")])
    equal(client.cluster_info()["cluster_state"], "ok")


@check
def get_and_set():
    for number, key in enumerate(KEYS):
        equal(client.set(key, number), True)
    equal([client.get(key) for key in KEYS], [str(number) for number in range(len(KEYS))])


@check
def pipeline_in_order():
    pipe = client.pipeline()
    for key in KEYS:
        pipe.set(key, "v")
        pipe.get(key)
    equal(pipe.execute(), [True, "v"] * len(KEYS))


@check
def several_keys():
    equal(client.mset_nonatomic({key: key for key in KEYS}) is not None, True)
    equal(client.mget_nonatomic(KEYS), KEYS)
    equal(client.exists(*KEYS), len(KEYS))
    equal(client.delete(*KEYS), len(KEYS))


@check
def publish_and_subscribe():
    subscriber = client.pubsub()
    subscriber.subscribe("news")
    equal(subscriber.get_message(timeout=5)["type"], "subscribe")
    client.publish("news", "hello")
    equal(subscriber.get_message(timeout=5)["data"], "hello")
    subscriber.close()


@check
def scripts():
    for key in KEYS[:20]:
        equal(client.eval("redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])", 1, key, "v"), "v")


@check
def scan_all_keys():
    client.flushdb()
    for key in KEYS:
        client.set(key, 1)
    equal(sorted(client.scan_iter(count=7)), sorted(KEYS))
    equal(client.dbsize(), len(KEYS))


run("redis-py-cluster", redis.__version__)
