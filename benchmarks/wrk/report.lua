-- Resolves the host of the URL to the loopback address, whatever its name is: over TLS the name is in SNI, and nobody else knows it.
-- Prints what was measured as one line of JSON; every script of this folder begins with this file.
function wrk.resolve(host, service)
   wrk.addrs = wrk.lookup("127.0.0.1", service)
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"seconds":%.6f,"bytes":%d,"p50_us":%d,"p99_us":%d,"bad_status":%d,"socket_errors":%d}\n',
      summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
