"""celery: a worker that does tasks, with rmux as its broker and for its results.

With several servers, all of its keys carry one hash tag (global_keyprefix): the queue, its four priorities and what is
not yet acknowledged are used together.
"""

import os
import subprocess
import sys

import celery
from checks import NAME, SERVERS, URL, check, equal, run, until

broker = URL.replace("unix://", "redis+socket://", 1)
if broker.startswith("redis+socket://"):
    broker = broker.replace("?db=", "?virtual_host=", 1)
options = {"global_keyprefix": "{celery}"} if SERVERS > 1 else {}

app = celery.Celery("celery_jobs", broker=broker, backend=broker)
app.conf.update(
    broker_transport_options=options,
    result_backend_transport_options=options,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    redis_client_name=NAME,
)


@app.task
def add(one, other):
    return one + other


@app.task
def fail():
    raise ValueError("as it should")


@app.task
def total(numbers):
    return sum(numbers)


@check
def tasks():
    # Sent before there is a worker: they wait in the queue.
    results = [add.delay(number, 1) for number in range(10)]
    equal([result.get(timeout=20) for result in results], list(range(1, 11)))


@check
def a_failing_task():
    result = fail.delay()
    equal(str(result.get(timeout=10, propagate=False)), "as it should")
    equal(result.status, "FAILURE")


@check
def a_group_and_a_chord():
    equal(celery.group(add.s(number, number) for number in range(5))().get(timeout=10), [0, 2, 4, 6, 8])
    equal(celery.chord([add.s(number, 1) for number in range(5)])(total.s()).get(timeout=10), 15)


@check
def a_delayed_task():
    equal(add.apply_async((1, 2), countdown=1).get(timeout=15), 3)


@check
def the_worker_answers_by_broadcast():
    equal(until(lambda: app.control.ping(timeout=2), 12)[0].popitem()[1], {"ok": "pong"})


@check
def results_are_forgotten():
    result = add.delay(1, 1)
    equal(result.get(timeout=10), 2)
    result.forget()
    equal(app.AsyncResult(result.id).status, "PENDING")


if __name__ == "__main__":
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_jobs", "worker", "--pool=solo", "--loglevel=WARNING"],
        cwd=os.path.dirname(__file__),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=sys.stderr,
    )
    try:
        run("celery", celery.__version__, worker.kill)
    finally:
        worker.kill()
