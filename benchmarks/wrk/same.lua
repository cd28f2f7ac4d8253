-- The same request again and again. Arguments: path, then field lines as NAME=VALUE.
dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/report.lua")

function init(args)
   local headers = { ["Host"] = "bench.example" }
   for index = 2, #args do
      local name, value = args[index]:match("^([^=]+)=(.*)$")
      headers[name] = value
   end
   ready = wrk.format("GET", args[1], headers)
end

function request()
   return ready
end
