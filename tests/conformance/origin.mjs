// The origin server of http-cache-tests, on a free port of the loopback address: `node origin.mjs PIDFILE`.
// It prints "Listening on http://127.0.0.1:PORT/". By itself the package listens on every address of the machine.

import net from 'node:net'
import process from 'node:process'

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, Number(port), '127.0.0.1', ...rest)
}

process.env.npm_config_protocol = 'http'
process.env.npm_config_port = '0'
process.env.npm_config_pidfile = process.argv[2]

await import('http-cache-tests/server/server.mjs')
