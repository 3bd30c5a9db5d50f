-- One script for all small-request loads. KIND: get | head | put | delete | list. Names are BASE/PREFIX-N.
-- At the end one line for bench/wrk.py: RESULT {"requests": …, "latency": {…}, "statuses": {"200": …}, "errors": {…}}
local n = 0
local kind, base, headers, count, prefix, body
local threads = {}
statuses = {} -- global: thread:get sees nothing else

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  kind = os.getenv("KIND")
  base = os.getenv("BASE")
  prefix = os.getenv("PREFIX") or "g"
  headers = {["X-Auth-Token"] = os.getenv("TOKEN")}
  count = tonumber(os.getenv("COUNT") or "100")
  if kind == "put" or kind == "list" then
    headers["Content-Type"] = "application/octet-stream"
    body = string.rep("x", tonumber(os.getenv("SIZE") or "4096"))
  end
  if os.getenv("STORAGE_SERVER") then -- asked directly, without a proxy
    headers["X-Timestamp"] = string.format("%.5f", os.time())
    headers["X-Backend-Storage-Policy-Index"] = "0"
  end
end

function request()
  n = n + 1
  if kind == "put" then
    return wrk.format("PUT", base .. "/" .. prefix .. "-" .. n, headers, body)
  elseif kind == "delete" then
    return wrk.format("DELETE", base .. "/" .. prefix .. "-" .. n, headers)
  elseif kind == "list" then
    if n % 200 == 0 then
      return wrk.format("PUT", base .. "/" .. prefix .. "-w" .. n, headers, "x")
    end
    local marker = string.format("%s-%06d", prefix, (n * 37) % count)
    return wrk.format("GET", base .. "?format=json&limit=1000&marker=" .. marker, headers)
  end
  return wrk.format(kind == "head" and "HEAD" or "GET", base .. "/" .. prefix .. "-" .. (n % count), headers)
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
