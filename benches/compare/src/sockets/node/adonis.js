// AdonisJS; with its sessions and their memory store unless the argument is `bare`.
import { IgnitorFactory } from '@adonisjs/core/factories'
import { defineConfig } from '@adonisjs/session'
import { createServer } from 'node:http'

import { paths, work } from './work.js'

process.env.HOST = '127.0.0.1'
process.env.PORT = '0'
process.env.NODE_ENV = 'production'
const hasSessions = process.argv[2] !== 'bare'

async function addRoutes(app) {
  const router = await app.container.make('router')
  if (hasSessions) router.use([() => import('@adonisjs/session/session_middleware')])
  for (const path of paths) {
    router.get(path, ({ session, response }) => response.header('content-type', 'text/plain').send(work(path, session)))
  }
}

const ignitor = new IgnitorFactory()
  .withCoreProviders()
  .withCoreConfig()
  .merge({
    rcFileContents: { providers: hasSessions ? [() => import('@adonisjs/session/session_provider')] : [] },
    config: {
      session: defineConfig({ cookieName: 'session', age: '2h', store: 'memory', stores: {}, cookie: { httpOnly: true, sameSite: 'lax' } }),
    },
  })
  .preload(addRoutes)
  .create(new URL('./', import.meta.url), { importer: (path) => import(path) })
await ignitor.httpServer().start((handler) => {
  const server = createServer(handler)
  // The connections of the load wait longer than the default of five seconds.
  server.keepAliveTimeout = 0
  return server.on('listening', () => console.log(server.address().port))
})
