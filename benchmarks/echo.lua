-- For wrk: POST a body of so many bytes with these fields, and print one line of JSON.
--   wrk --script echo.lua URL -- SIZE "Name: value" ...
function init(args)
  local size = tonumber(args[1])
  wrk.method = "POST"
  wrk.path = "/echo"
  wrk.body = string.rep("0123456789", math.floor(size / 10) + 1):sub(1, size)
  for number = 2, #args do
    local name, value = args[number]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "received": %d, "errors": %d}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout))
end
