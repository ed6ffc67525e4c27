// BullMQ: workers that do jobs. Every script of it takes up to 14 keys; with several servers, the prefix is a hash tag.

import { address, check, database, equal, name, password, require, run, servers, versionOf } from './checks.mjs'

const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq')

const connection = { ...address, password, db: database, connectionName: name, maxRetriesPerRequest: null }
const options = { connection, prefix: servers > 1 ? '{bull}' : 'bull' }
const queue = new Queue('jobs', options)
const events = new QueueEvents('jobs', options)
let worker

for (const part of [queue, events]) part.on('error', error => console.error('error event:', error))

check('jobs wait for a worker, and are done', async () => {
  await events.waitUntilReady()
  const jobs = await queue.addBulk([1, 2, 3, 4, 5].map(number => ({ name: 'double', data: { number } })))
  worker = new Worker('jobs', async job => {
    if (job.name === 'fail') throw new Error('as it should')
    await job.updateProgress(50)
    return (job.data.number ?? 0) * 2
  }, { ...options, concurrency: 3 })
  worker.on('error', error => console.error('error event:', error))
  equal(await Promise.all(jobs.map(job => job.waitUntilFinished(events, 15_000))), [2, 4, 6, 8, 10])
})

check('a waiting worker is woken', async () => {
  const job = await queue.add('double', { number: 21 })
  equal(await job.waitUntilFinished(events, 15_000), 42)
})

check('a failing job is tried again', async () => {
  const job = await queue.add('fail', {}, { attempts: 2, backoff: 50 })
  let message
  await job.waitUntilFinished(events, 15_000).catch(error => { message = error.message })
  equal(message, 'as it should')
  equal((await queue.getJob(job.id)).attemptsMade, 2)
})

check('a delayed job and one with a priority', async () => {
  const delayed = await queue.add('double', { number: 4 }, { delay: 300 })
  const urgent = await queue.add('double', { number: 5 }, { priority: 1 })
  equal(await Promise.all([delayed, urgent].map(job => job.waitUntilFinished(events, 15_000))), [8, 10])
})

check('a job with children', async () => {
  const flow = new FlowProducer(options)
  const child = number => ({ name: 'double', queueName: 'jobs', data: { number } })
  const tree = await flow.add({ ...child(1), children: [child(2), child(3)] })
  equal(await tree.job.waitUntilFinished(events, 15_000), 2)
  equal(Object.values(await tree.job.getChildrenValues()).sort(), [4, 6])
  await flow.close()
})

check('counts, and a clean end', async () => {
  const { completed, failed, waiting } = await queue.getJobCounts()
  equal({ completed, failed, waiting }, { completed: 11, failed: 1, waiting: 0 })
  await worker.close()
  await events.close()
  await queue.obliterate({ force: true })
  await queue.close()
})

run('bullmq', versionOf('bullmq'))
