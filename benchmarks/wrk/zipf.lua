-- Objects by Zipf, asked for by many kinds of clients. Arguments: objects, skew, seed.
dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/report.lua")

local browsers = {
   "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
   "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
   "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
   "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari/604.1",
   "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
   "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
   "Mozilla/5.0 (compatible; ExampleBot/2.1; +https://bot.example/about)",
   "curl/8.14.1",
}
local languages = { "en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "fr-FR,fr;q=0.9", "es-ES,es;q=0.8,en-US;q=0.5", "ja,en;q=0.7" }
local accepts = { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "*/*" }
local draws = 200000

local function pick(list)
   return list[math.random(#list)]
end

local function zipf(objects, skew)
   local sums, total = {}, 0
   for rank = 1, objects do
      total = total + 1 / rank ^ skew
      sums[rank] = total
   end
   return function()
      local wanted, low, high = math.random() * total, 1, objects
      while low < high do
         local middle = math.floor((low + high) / 2)
         if sums[middle] < wanted then low = middle + 1 else high = middle end
      end
      return low
   end
end

function init(args)
   math.randomseed(tonumber(args[3]))
   local draw = zipf(tonumber(args[1]), tonumber(args[2]))
   ready, next_one = {}, 0
   for index = 1, draws do
      local headers = {
         ["Host"] = "bench.example", ["User-Agent"] = pick(browsers), ["Accept-Language"] = pick(languages),
         ["Accept"] = pick(accepts), ["Accept-Encoding"] = "identity",
      }
      if math.random() < 0.6 then
         headers["Referer"] = "http://bench.example/z/" .. draw()
      end
      ready[index] = wrk.format("GET", "/z/" .. draw(), headers)
   end
end

function request()
   next_one = next_one % draws + 1
   return ready[next_one]
end
