-- One script for all small-request loads. KIND: get | head | put | delete | list. Names are BASE/PREFIX-N.
-- What is told at the end: report.lua.
local n = 0
local kind, base, headers, count, prefix, body

dofile(os.getenv("REPORT"))

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
