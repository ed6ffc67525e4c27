"""django-redis as Django's cache and as its session store."""

import django
import django_redis
from checks import NAME, SERVERS, URL, Skip, check, equal, run
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": URL,
            "KEY_PREFIX": "site",
            "OPTIONS": {"CONNECTION_POOL_KWARGS": {"client_name": NAME, "socket_timeout": 10}},
        }
    },
)
django.setup()

from django.core.cache import cache  # noqa: E402  (Django has to be set up first)


@check
def set_get_add_delete():
    cache.set("a", {"deep": [1, 2, "ü"]}, timeout=100)
    equal(cache.get("a"), {"deep": [1, 2, "ü"]})
    equal(cache.get("absent", "default"), "default")
    equal((cache.add("a", 1), cache.add("new", 1)), (False, True))
    equal(0 < cache.ttl("a") <= 100, True)
    equal((cache.delete("a"), cache.get("a")), (True, None))


@check
def incr_and_touch():
    cache.set("count", 1)
    equal((cache.incr("count"), cache.incr("count", 10), cache.decr("count")), (2, 12, 11))
    equal((cache.touch("count", 50), cache.has_key("count")), (True, True))


@check
def get_many_and_delete_many():
    names = [f"many:{number}" for number in range(100)]
    for name in names:
        cache.set(name, name)
    equal(cache.get_many(names + ["absent"]), {name: name for name in names})
    equal(cache.delete_many(names), 100)


@check
def set_many():
    if SERVERS > 1:
        raise Skip("is one transaction over all its keys")
    cache.set_many({f"set:{number}": number for number in range(100)})
    equal(cache.get("set:99"), 99)


@check
def keys_and_patterns():
    for number in range(50):
        cache.set(f"pattern:{number}", number)
    equal(len(cache.keys("pattern:*")), 50)
    equal(len(list(cache.iter_keys("pattern:*"))), 50)
    if SERVERS == 1:
        # One transaction over all the keys that it found.
        equal(cache.delete_pattern("pattern:*"), 50)


@check
def lock():
    with cache.lock("lock", timeout=5):
        equal(cache.lock("lock", timeout=5).acquire(blocking=False), False)
    equal(cache.lock("lock", timeout=5).acquire(blocking=False), True)


@check
def sessions():
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["user"] = 42
    session.save()
    equal(SessionStore(session.session_key)["user"], 42)
    session.delete()
    equal(SessionStore(session.session_key).get("user"), None)


@check
def clear():
    cache.set("gone", 1)
    cache.clear()
    equal(cache.get("gone"), None)


run("django-redis", ".".join(str(part) for part in django_redis.VERSION))
