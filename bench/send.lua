-- Sends one event a request, with a payload of 24 bytes.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"type":"bench:send","payload":"abcdefghijklmnopqrstuv"}'
