-- One script for all small-request loads. KIND: get | head | put | delete | list. Names are BASE/PREFIX-N.
local n, bad = 0, 0
local kind, base, token, count, prefix, body

function init(args)
  kind = os.getenv("KIND")
  base = os.getenv("BASE")
  prefix = os.getenv("PREFIX") or "g"
  token = {["X-Auth-Token"] = os.getenv("TOKEN")}
  count = tonumber(os.getenv("COUNT") or "100")
  if kind == "put" or kind == "list" then
    token["Content-Type"] = "application/octet-stream"
    body = string.rep("x", tonumber(os.getenv("SIZE") or "4096"))
  end
end

function request()
  n = n + 1
  if kind == "put" then
    return wrk.format("PUT", base .. "/" .. prefix .. "-" .. n, token, body)
  elseif kind == "delete" then
    return wrk.format("DELETE", base .. "/" .. prefix .. "-" .. n, token)
  elseif kind == "list" then
    if n % 200 == 0 then
      return wrk.format("PUT", base .. "/" .. prefix .. "-w" .. n, token, "x")
    end
    local marker = string.format("%s-%06d", prefix, (n * 37) % count)
    return wrk.format("GET", base .. "?format=json&limit=1000&marker=" .. marker, token)
  end
  return wrk.format(kind == "head" and "HEAD" or "GET", base .. "/" .. prefix .. "-" .. (n % count), token)
end

function response(status)
  if status >= 300 then
    bad = bad + 1
    if bad <= 3 then print("unexpected status", status) end
  end
end
