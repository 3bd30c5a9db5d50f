-- What all loads tell at their end, one line for bench/wrk.py: RESULT {"requests": …, "latency": {…}, "statuses": {"200": …}, "errors": {…}}
local threads = {}
statuses = {} -- global: thread:get sees nothing else

function setup(thread)
  table.insert(threads, thread)
end

function response(status, received)
  local name = tostring(status)
  if status == 503 and not received["Retry-After"] then
    name = "503 without Retry-After"
  end
  statuses[name] = (statuses[name] or 0) + 1
end

local function object(values)
  local parts = {}
  for name, value in pairs(values) do
    table.insert(parts, string.format('"%s": %.3f', name, value))
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function done(summary, latency, requests)
  local sums = {}
  for _, thread in ipairs(threads) do
    for name, number in pairs(thread:get("statuses")) do
      sums[name] = (sums[name] or 0) + number
    end
  end
  print(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "latency": %s, "statuses": %s, "errors": %s}',
    summary.requests, summary.duration / 1e6,
    object({mean = latency.mean / 1e3, median = latency:percentile(50) / 1e3, p99 = latency:percentile(99) / 1e3}),
    object(sums), object(summary.errors)))
end
