"""The jobs that rq_jobs.py queues; imported by the worker."""


def add(one, other):
    return one + other


def fail():
    raise ValueError("as it should")
