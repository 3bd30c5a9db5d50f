-- Requests that were made before the clock started (signed ones, say): FILE holds them, each after a line with its length, and they are
-- sent from its first to its last, over and over. At the end one line for bench/wrk.py, as of requests.lua.
local requests = {}
local n = 0

dofile(os.getenv("REPORT"))

function init(args)
  local file = assert(io.open(os.getenv("FILE"), "rb"))
  while true do
    local length = file:read("*n", "*l")
    if not length then
      break
    end
    table.insert(requests, file:read(length))
  end
  file:close()
end

function request()
  n = n % #requests + 1
  return requests[n]
end
