-- A path that was never asked for before, each time. Arguments: start of the path.
dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/report.lua")

function init(args)
   first = args[1]
   count = 0
   headers = { ["Host"] = "bench.example" }
end

function request()
   count = count + 1
   return wrk.format("GET", first .. count, headers)
end
