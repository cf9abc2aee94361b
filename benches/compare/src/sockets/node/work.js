// The work of a request, the same for all servers. The process ends with the one that started it.
process.stdin.on('end', () => process.exit(0)).resume()

export const paths = ['/seed', '/untouched', '/read', '/increment']

// `session` has the functions `get` and `put`.
export function work(path, session) {
  switch (path) {
    case '/seed':
      for (const [key, value] of Object.entries(JSON.parse(process.env.DOCUMENT))) session.put(key, value)
      return 'ok'
    case '/read':
      return String(session.get('visits'))
    case '/increment': {
      const next = session.get('visits') + 1
      session.put('visits', next)
      return String(next)
    }
    default:
      return 'ok'
  }
}
