"""rq: a worker that does jobs. Its keys have fixed names and are used together: it needs one server."""

import os
import subprocess
import sys
import time

import redis
import rq
from checks import ADDRESS, LOGIN, SERVERS, URL, Skip, check, equal, run, until

connection = redis.Redis(**ADDRESS, **LOGIN)
queue = rq.Queue("default", connection=connection)
environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
command = [os.path.join(os.path.dirname(sys.executable), "rq"), "worker", "--url", URL, "--quiet"]


def one_server():
    if SERVERS > 1:
        raise Skip("rq uses keys of several servers together, and has no prefix for a hash tag")


@check
def jobs_in_a_burst():
    one_server()
    jobs = [queue.enqueue("rq_work.add", number, 1) for number in range(5)]
    failing = queue.enqueue("rq_work.fail")
    equal(queue.count, 6)
    subprocess.run([*command, "--burst"], env=environment, check=True, timeout=30)
    equal([job.return_value() for job in jobs], [1, 2, 3, 4, 5])
    equal(failing.get_status(refresh=True), "failed")
    equal((queue.count, queue.failed_job_registry.count), (0, 1))


@check
def a_waiting_worker_gets_a_job_and_is_stopped():
    one_server()
    worker = subprocess.Popen(command, env=environment)
    try:
        until(lambda: rq.Worker.count(connection=connection) == 1, 15)
        begun = time.monotonic()
        job = queue.enqueue("rq_work.add", 20, 22)
        equal(until(lambda: job.return_value(), 15), 42)
        equal(time.monotonic() - begun < 10, True)
    finally:
        worker.terminate()
        worker.wait(15)
    until(lambda: rq.Worker.count(connection=connection) == 0)


run("rq", rq.__version__ if hasattr(rq, "__version__") else rq.version.VERSION)
