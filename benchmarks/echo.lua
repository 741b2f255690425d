-- For wrk: POST 230 bytes, count what is not their echo, print one line of JSON.
wrk.method = "POST"
wrk.path = "/echo"
wrk.headers["Content-Type"] = "text/plain"
wrk.body = string.rep("0123456789", 23)

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "errors": %d}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout))
end
