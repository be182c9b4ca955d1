package limit

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis"
)

// Redis counts for several gateways. Their clocks should agree to within a small part of the shortest period. While the
// server is slow or down each gateway counts for itself: a request waits for it redis.Within at most, and after a failure
// nobody asks it for a while. What is used meanwhile is not told to it later.
type Redis struct{ server *redis.Server }

// redisPrefix begins every key, so that other users of the server know whose it is.
const redisPrefix = "llmgateway:limit:"

// NewRedis returns counts in the server of a URL, as [redis.Open] takes it. failed is told, once for each rest, why the
// server is not asked.
func NewRedis(url string, failed func(error)) (*Redis, error) {
	server, err := redis.Open(url, redis.Within, failed)
	if err != nil {
		return nil, err
	}
	return &Redis{server}, nil
}

// Close closes all connections. Requests that are still running count in memory only.
func (r *Redis) Close() error { return r.server.Close() }

// A key's counts are a hash. Each window has its period, and what was used in it and in the one before, under a name that
// says what is counted, and for how long.
//
// Arguments: for each window its name, period in milliseconds, number of the period, milliseconds that have passed of it,
// maximum, and what is wanted. The answer is 1 if all was taken, else 0, and the counts of each window as they are then.
var reserveScript = redis.NewScript(`
local answer, new, longest = {1}, {}, 0
for i = 1, #ARGV, 6 do
	local name, per, period = ARGV[i], tonumber(ARGV[i+1]), tonumber(ARGV[i+2])
	local elapsed, most, want = tonumber(ARGV[i+3]), tonumber(ARGV[i+4]), tonumber(ARGV[i+5])
	local known = redis.call('HMGET', KEYS[1], name .. ':period', name .. ':cur', name .. ':prev')
	local at, cur, prev = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or 0)
	if at > period then
		elapsed = 0
	elseif at + 1 == period then
		prev = cur
		at, cur = period, 0
	elseif at < period then
		at, cur, prev = period, 0, 0
	end
	if cur + math.ceil(prev * (per - elapsed) / per) + want > most then
		answer[1] = 0
	end
	if per > longest then longest = per end
	table.insert(new, {name, at, cur, prev, want})
end
for _, w in ipairs(new) do
	if answer[1] == 1 then
		w[3] = w[3] + w[5]
		redis.call('HSET', KEYS[1], w[1] .. ':period', string.format('%.0f', w[2]),
			w[1] .. ':cur', string.format('%.0f', w[3]), w[1] .. ':prev', string.format('%.0f', w[4]))
	end
	for n = 2, 4 do table.insert(answer, string.format('%.0f', w[n])) end
end
if answer[1] == 1 and redis.call('PTTL', KEYS[1]) < 2 * longest then
	redis.call('PEXPIRE', KEYS[1], string.format('%.0f', 2 * longest))
end
return answer
`)

// Arguments: for each window its name, the period of the reservation, and by how much the use differs from it.
var settleScript = redis.NewScript(`
for i = 1, #ARGV, 3 do
	local name, period = ARGV[i], tonumber(ARGV[i+1])
	local at = tonumber(redis.call('HGET', KEYS[1], name .. ':period') or -1)
	if at == period then
		redis.call('HINCRBY', KEYS[1], name .. ':cur', ARGV[i+2])
	elseif at == period + 1 then
		redis.call('HINCRBY', KEYS[1], name .. ':prev', ARGV[i+2])
	end
end
return 1
`)

// reserve takes what a reservation wants. asked is false if the server did not say anything.
func (r *Redis) reserve(ctx context.Context, l *Limiter, res *Reservation) (counts []count, within, asked bool) {
	if r.server.Resting() || len(l.Limits.Windows) == 0 {
		return nil, false, false
	}
	var args []any
	for i, w := range l.Limits.Windows {
		period := w.periodAt(res.now)
		elapsed := time.Duration(count{period: period}.elapsed(w, res.now))
		args = append(args, name(w), w.Per.Milliseconds(), period, elapsed.Milliseconds(), w.Max, res.taken[i])
	}
	ctx, cancel := context.WithTimeout(ctx, redis.Within)
	defer cancel()
	answer, err := reserveScript.Run(ctx, r.server, []string{l.redisKey(res)}, args...).Int64Slice()
	if err == nil && len(answer) != 1+3*len(l.Limits.Windows) {
		err = fmt.Errorf("%d values in the answer", len(answer))
	}
	if err != nil {
		r.server.Note(ctx, "reserving tokens", err)
		return nil, false, false
	}
	for i := 1; i < len(answer); i += 3 {
		counts = append(counts, count{period: answer[i], cur: max(0, answer[i+1]), prev: max(0, answer[i+2])})
	}
	return counts, answer[0] == 1, true
}

// settle puts what was used in place of what a reservation has taken.
func (r *Redis) settle(ctx context.Context, l *Limiter, res *Reservation, used Use) {
	if r.server.Resting() {
		return
	}
	var args []any
	for i, w := range l.Limits.Windows {
		args = append(args, name(w), w.periodAt(res.now), max(0, used.of(w.Kind))-res.taken[i])
	}
	ctx, cancel := context.WithTimeout(ctx, redis.Within)
	defer cancel()
	if err := settleScript.Run(ctx, r.server, []string{l.redisKey(res)}, args...).Err(); err != nil {
		r.server.Note(ctx, "settling tokens", err)
	}
}

// name tells a window's fields from those of others.
func name(w Window) string { return fmt.Sprintf("%s:%d", w.Kind, w.Per.Milliseconds()) }

// redisKey does not tell who is counted: clients' names are nobody's business there.
func (l *Limiter) redisKey(res *Reservation) string {
	return redisPrefix + l.Name + ":" + hex.EncodeToString(res.key[:])
}
