// What the Node scripts share: where rmux is, and how the outcome of a check is told.
//
// A check passes when its function returns, is skipped when it throws a Skip, and has failed otherwise.
// The modules are in a folder that RMUX_MODULES names; an import would look for them beside the script, so they are
// required from there.

import { createRequire } from 'node:module'

const { env } = process

export const require = createRequire(`${env.RMUX_MODULES}/package.json`)
export const versionOf = name => require(`${env.RMUX_MODULES}/node_modules/${name}/package.json`).version
export const address = env.RMUX_SOCKET
  ? { path: env.RMUX_SOCKET }
  : { host: env.RMUX_HOST, port: Number(env.RMUX_PORT) }
export const password = env.RMUX_PASSWORD || undefined
export const database = Number(env.RMUX_DATABASE)
export const name = env.RMUX_NAME
export const servers = Number(env.RMUX_SERVERS)

// Keys enough that three servers all have some of them.
export const keys = Array.from({ length: 100 }, (_, number) => `key:${number}`)

export class Skip extends Error {}

const checks = []

export const check = (title, perform) => checks.push([title, perform])

export async function run(client, version) {
  console.log('client', client, version)
  for (const [title, perform] of checks) {
    try {
      await within(20_000, perform())
      console.log('ok', title)
    } catch (error) {
      if (error instanceof Skip) {
        console.log(`skip ${title}: ${error.message}`)
      } else {
        console.error(error)
        console.log(`not ok ${title}: ${String(error?.message ?? error).replace(/\s+/g, ' ').slice(0, 200)}`)
      }
    }
  }
  process.stdout.write('done\n', () => process.exit(0))
}

export function within(milliseconds, promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${milliseconds} ms`)), milliseconds)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

export function equal(got, wanted) {
  const [left, right] = [got, wanted].map(value => JSON.stringify(plain(value)))
  if (left !== right) throw new Error(`got ${left?.slice(0, 100)}, wanted ${right?.slice(0, 100)}`)
}

// Maps, objects without a prototype and numbers in words differ between versions, and mean the same here.
function plain(value) {
  if (value === undefined) return null
  if (value instanceof Map) return plain(Object.fromEntries(value))
  if (value instanceof Set) return plain([...value])
  if (Buffer.isBuffer(value)) return value.toString('latin1')
  if (Array.isArray(value)) return value.map(plain)
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).sort().map(([key, item]) => [key, plain(item)]))
  }
  return value
}

// The error that the promise ends with.
export async function failure(promise) {
  let value
  try {
    value = await promise
  } catch (error) {
    return error
  }
  throw new Error(`no error, but ${JSON.stringify(plain(value))?.slice(0, 100)}`)
}

// A function to listen with, and a promise of the first `count` things that it heard.
export function hearing(count) {
  const heard = []
  let enough
  const all = new Promise(resolve => { enough = resolve })
  return [(...words) => { if (heard.push(words.map(String)) === count) enough(heard) }, all]
}
