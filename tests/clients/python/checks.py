"""What the Python scripts share: where rmux is, and how the outcome of a check is told.

A check is a function with the decorator @check; all of them run in the order in which they are written. It passes when
it returns, is skipped when it raises Skip, and has failed otherwise. A coroutine is run in one event loop for all.
"""

import asyncio
import inspect
import os
import sys
import time
import traceback

HOST = os.environ["RMUX_HOST"]
PORT = int(os.environ["RMUX_PORT"] or 0)
SOCKET = os.environ["RMUX_SOCKET"]
PASSWORD = os.environ["RMUX_PASSWORD"]
DATABASE = int(os.environ["RMUX_DATABASE"])
NAME = os.environ["RMUX_NAME"]
SERVERS = int(os.environ["RMUX_SERVERS"])

AUTH = f":{PASSWORD}@" if PASSWORD else ""
if SOCKET:
    ADDRESS = {"unix_socket_path": SOCKET}
    URL = f"unix://{AUTH}{SOCKET}?db={DATABASE}"
else:
    ADDRESS = {"host": HOST, "port": PORT}
    URL = f"redis://{AUTH}{HOST}:{PORT}/{DATABASE}"
LOGIN = {"password": PASSWORD or None, "db": DATABASE, "client_name": NAME, "socket_timeout": 10}

# Keys enough that three servers all have some of them.
KEYS = [f"key:{number}" for number in range(100)]

checks = []


class Skip(Exception):
    """Raised by a check that has nothing to try here."""


def check(function):
    checks.append((function.__name__.replace("_", " "), function))
    return function


def run(name, version, at_the_end=None):
    print("client", name, version)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    for title, function in checks:
        try:
            if inspect.iscoroutinefunction(function):
                loop.run_until_complete(asyncio.wait_for(function(), 30))
            else:
                function()
            print("ok", title, flush=True)
        except Skip as why:
            print(f"skip {title}: {why}", flush=True)
        except BaseException as error:
            traceback.print_exc()
            text = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"not ok {title}: {text[:200]}", flush=True)
            if isinstance(error, KeyboardInterrupt):
                raise
    if at_the_end:
        at_the_end()
    print("done", flush=True)
    # Threads of a failed check that still wait must not keep the script.
    sys.stderr.flush()
    os._exit(0)


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r:.120}, wanted {wanted!r:.120}")


def until(condition, seconds=10):
    """Returns the first true value of condition(); fails after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds} s")
        time.sleep(0.01)


def refused(error):
    """Whether an error says that a transaction's keys are not on one server.

    The newer versions drop the first word, or (asyncio, 6.4) the whole text, but have a class for it.
    """
    words = ("CROSSSLOT", "hash to the same slot", "EXECABORT", "Transaction discarded")
    return type(error).__name__ == "ClusterCrossSlotError" or any(word in str(error) for word in words)
