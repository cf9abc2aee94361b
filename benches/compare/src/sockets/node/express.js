// Express; with express-session and its memory store unless the argument is `bare`.
import express from 'express'
import sessions from 'express-session'

import { paths, work } from './work.js'

const app = express()
app.disable('x-powered-by').disable('etag')
if (process.argv[2] !== 'bare') {
  const age = 2 * 60 * 60 * 1000
  app.use(sessions({ name: 'session', secret: 'x'.repeat(32), resave: false, saveUninitialized: false, cookie: { maxAge: age } }))
}
for (const path of paths) {
  app.get(path, (request, response) => {
    const session = {
      get: (key) => request.session[key],
      put: (key, value) => {
        request.session[key] = value
      },
    }
    response.type('text/plain').send(work(path, session))
  })
}
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
// The connections of the load wait longer than the default of five seconds.
server.keepAliveTimeout = 0
