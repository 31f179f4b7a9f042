// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet/internal/engine"
)

// A key is one Redis key: a hash with two fields for each part. The field with
// the part's name describes the record:
//
//	revision end written quiet id
//
// The revision, the end of the time to live and the time of the write are in
// microseconds of the server's clock, quiet is 0 or 1, and the id is that of
// the write. The other field, with "/data" after the part's name, has the data,
// and is missing if the record is a marker.
//
// The scripts compare the end of each part with the time. The expiry of the hash
// itself only removes keys that are no longer used.

// writeScript replaces a part if its revision is the expected one, and returns
// the new revision, or 0 if the part has another revision. A repeated write
// returns the revision that the first one got.
//
// Revisions are times, so a server that has lost some does not give them again.
// If the clock was set back, revisions count up from the last one. So that one
// stays in the hash, beyond the record's end, until the clock has passed it.
//
// A replica may be out of date, so both scripts try a write before they return
// what is stored: to remove the field "/", which is no part's name, changes
// nothing, but a replica refuses it. It is tempting to begin every write with
// that, but a full server refuses HSET only if it is the first write.
var writeScript = newScript(`
local key, part, expect, id, data = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local last, there = 0, '0'
local old = redis.call('HGET', key, part)
if old then
	local rev, ends, _, _, by = string.match(old, '(%d+) (%d+) (%d+) (%d) (%w+)')
	if by == id then return tonumber(rev) end
	last = tonumber(rev)
	if tonumber(ends) > now then there = rev end
end
if there ~= expect then
	local master = redis.pcall('HDEL', key, '/')
	return type(master) == 'table' and master or 0
end

local rev = math.max(now, last + 1)
local ends = now + ARGV[4] * 1000
local state = string.format('%.0f %.0f %.0f %d', rev, ends, now, ARGV[5])
local set = redis.pcall('HSET', key, part, state .. ' ' .. id, part .. '/data', data)
if type(set) == 'table' then return set end
if data == '' then redis.call('HDEL', key, part .. '/data') end

local keep = math.max(rev, ends)
for _, field in ipairs(redis.call('HKEYS', key)) do
	if field ~= part and not string.find(field, '/', 1, true) then
		local rev, ends = string.match(redis.call('HGET', key, field), '(%d+) (%d+)')
		local needed = math.max(tonumber(rev), tonumber(ends))
		if needed < now then
			redis.call('HDEL', key, field, field .. '/data')
		else
			keep = math.max(keep, needed)
		end
	end
end
redis.call('PEXPIREAT', key, string.format('%.0f', keep / 1000 + 1))
redis.call('PUBLISH', key, part .. ' ' .. state .. '\n' .. data)
return rev
`)

// readScript returns the server's time and all fields of a key.
var readScript = newScript(`
local master = redis.pcall('HDEL', KEYS[1], '/')
if type(master) == 'table' then return master end
local time = redis.call('TIME')
return {time[1], time[2], redis.call('HGETALL', KEYS[1])}
`)

type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// A once is a command that the client does not send again, whatever its
// MaxRetries is, if the server may have received it. The client still follows
// redirections, and tries another node if one refuses the command.
type once struct{ *goredis.Cmd }

func (once) NoRetry() bool { return true }

// run runs a script on the master that has the key.
func (e *Engine) run(ctx context.Context, s script, send func(*goredis.Cmd) goredis.Cmder, key string, args ...any) (any, error) {
	if e.ctx.Err() != nil {
		return nil, engine.ErrClosed
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrUnsent, err)
	}
	ctx, stop := e.untilClose(ctx)
	defer stop()
	return heed(ctx, func(ctx context.Context) (any, error) {
		answer, err := e.process(ctx, send, "evalsha", s.sha, key, args)
		if code(err) == "NOSCRIPT" && ctx.Err() == nil { // the server was restarted, or is another one
			answer, err = e.process(ctx, send, "eval", s.text, key, args)
		}
		return answer, err
	})
}

func (e *Engine) process(ctx context.Context, send func(*goredis.Cmd) goredis.Cmder, name, script, key string, args []any) (any, error) {
	cmd := goredis.NewCmd(ctx, append([]any{name, script, 1, key}, args...)...)
	cmd.SetFirstKeyPos(3)
	cmd.SetStepCount(1) // so that a cluster client need not ask for COMMAND
	err := e.client.Process(ctx, send(cmd))
	if cluster, ok := e.client.(interface{ ReloadState(context.Context) }); ok && err != nil && (code(err) == "" || code(err) == "CLUSTERDOWN") {
		// The node may have been replaced. The client would find that out only
		// after a minute, since it does not send a once to another node.
		cluster.ReloadState(ctx)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Result()
}

// untilClose returns a context that is also done when the Engine is closed.
func (e *Engine) untilClose(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.ctx, func() { cancel(errClosing) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// errClosing is not engine.ErrClosed, since the outcome is unknown.
var errClosing = errors.New("the engine was closed before the answer")

// maxData is the size limit of a record. A server disconnects a subscriber that
// lags by 32 MiB, or for a minute by 8 MiB (client-output-buffer-limit pubsub),
// and it serves no other client while it copies a record.
const maxData = 8 << 20

// Write is for package fleet.
func (e *Engine) Write(ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
	if len(put.Data) > maxData {
		return 0, fmt.Errorf("%w: %d bytes are more than %d", engine.ErrTooLarge, len(put.Data), maxData)
	}
	rev, err := e.write(ctx, e.name(name.Key), name.Part, put)
	if err != nil {
		return 0, outcome(err)
	}
	if rev == 0 {
		return 0, engine.ErrTaken
	}
	return rev, nil
}

// write returns revision 0 if another revision is there than put expects.
func (e *Engine) write(ctx context.Context, key, part string, put engine.Put) (rev uint64, err error) {
	quiet := 0
	if put.Quiet {
		quiet = 1
	}
	ms := (put.TTL + time.Millisecond - 1) / time.Millisecond
	answer, err := e.run(ctx, writeScript, func(cmd *goredis.Cmd) goredis.Cmder { return once{cmd} },
		key, part, strconv.FormatUint(put.Expect, 10), rand.Text(), int64(ms), quiet, string(put.Data)) // a copy, since the client may send it when this has returned
	if err != nil {
		return 0, err
	}
	n, ok := answer.(int64)
	if !ok || n < 0 {
		return 0, fmt.Errorf("the write script returned %T", answer)
	}
	return uint64(n), nil
}

// outcome wraps the error of a write in the error of package engine that says
// what is known of the record.
func outcome(err error) error {
	var op *net.OpError
	switch c := code(err); {
	case errors.Is(err, engine.ErrUnsent), errors.Is(err, engine.ErrClosed):
		return err
	case errors.Is(err, goredis.ErrClosed): // by the caller of Open, before this was sent
		return fmt.Errorf("%w: %w", engine.ErrClosed, err)
	case c == "OOM":
		return fmt.Errorf("%w: %w", engine.ErrTooLarge, err)
	case refused[c],
		errors.Is(err, goredis.ErrPoolTimeout), errors.Is(err, goredis.ErrPoolExhausted),
		errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w", engine.ErrUnsent, err)
	}
	return err
}

// refused has the errors after which a server has done nothing. NOPERM is not
// among them, since a script may have written before it gets that error.
var refused = map[string]bool{
	"ASK": true, "CLUSTERDOWN": true, "CROSSSLOT": true, "MOVED": true, "TRYAGAIN": true,
	"BUSY": true, "LOADING": true, "MASTERDOWN": true, "MISCONF": true, "NOREPLICAS": true, "READONLY": true,
	"NOAUTH": true, "NOSCRIPT": true, "WRONGTYPE": true,
}

// code returns the first word of an error of the server, or "".
func code(err error) string {
	var answer goredis.Error
	if !errors.As(err, &answer) {
		return ""
	}
	word, _, _ := strings.Cut(answer.Error(), " ")
	return word
}

// Latest is for package fleet.
func (e *Engine) Latest(ctx context.Context, name engine.Name) (engine.Entry, error) {
	l, err := e.list(ctx, e.name(name.Key))
	if err != nil {
		return engine.Entry{}, err
	}
	for _, r := range l.records {
		if r.Part == name.Part {
			return r.Entry, nil
		}
	}
	return engine.Entry{Part: name.Part, Gone: true}, nil
}

// A record is what is stored, or was published.
type record struct {
	engine.Entry
	quiet bool
	left  time.Duration // time to live that was left when the server sent the record
}

// A listing has the records of a key at one time.
type listing struct {
	at      uint64 // microseconds of the server's clock
	records []record
}

func (e *Engine) list(ctx context.Context, key string) (listing, error) {
	answer, err := e.run(ctx, readScript, func(cmd *goredis.Cmd) goredis.Cmder { return cmd }, key)
	if err != nil {
		return listing{}, err
	}
	l, err := parseListing(answer)
	if err != nil {
		return listing{}, fmt.Errorf("the read script returned %v: %w", answer, err)
	}
	return l, nil
}

var errForm = errors.New("it does not have the form that this version writes")

func parseListing(answer any) (listing, error) {
	list, _ := answer.([]any)
	if len(list) != 3 {
		return listing{}, errForm
	}
	sec, _ := list[0].(string)
	usec, _ := list[1].(string)
	s, err := strconv.ParseUint(sec, 10, 64)
	if err != nil {
		return listing{}, errForm
	}
	us, err := strconv.ParseUint(usec, 10, 64)
	if err != nil {
		return listing{}, errForm
	}
	flat, ok := list[2].([]any)
	if !ok || len(flat)%2 != 0 {
		return listing{}, errForm
	}
	l := listing{at: s*1e6 + us}
	data := make(map[string]string)
	for i := 0; i < len(flat); i += 2 {
		field, _ := flat[i].(string)
		value, _ := flat[i+1].(string)
		if part, ok := strings.CutSuffix(field, "/data"); ok {
			data[part] = value
			continue
		}
		r, err := parseRecord(field, value, l.at)
		if err != nil {
			return listing{}, err
		}
		l.records = append(l.records, r)
	}
	for i := range l.records {
		r := &l.records[i]
		if r.left <= 0 {
			r.Entry = engine.Entry{Part: r.Part, Rev: r.Rev, Gone: true}
		} else if d := data[r.Part]; d != "" {
			r.Data = []byte(d)
		}
	}
	return l, nil
}

// parseNews parses what the write script publishes.
func parseNews(message string) (record, error) {
	head, data, ok := strings.Cut(message, "\n")
	part, state, ok2 := strings.Cut(head, " ")
	if !ok || !ok2 {
		return record{}, errForm
	}
	r, err := parseRecord(part, state, 0)
	if err == nil && data != "" {
		r.Data = []byte(data)
	}
	return r, err
}

// parseRecord parses the fields that describe a record, as of the given time,
// or, if that is 0, as of its write.
func parseRecord(part, state string, at uint64) (record, error) {
	fields := strings.Fields(state)
	if part == "" || len(fields) < 4 {
		return record{}, errForm
	}
	var n [3]uint64
	for i := range n {
		var err error
		n[i], err = strconv.ParseUint(fields[i], 10, 64)
		if err != nil || n[i] > 1<<62 {
			return record{}, errForm
		}
	}
	rev, ends, written := n[0], n[1], n[2]
	if at == 0 {
		at = written
	}
	left := (int64(ends) - int64(at))
	return record{
		Entry: engine.Entry{Part: part, Rev: rev, Time: time.UnixMicro(int64(written))},
		quiet: fields[3] == "1",
		left:  time.Duration(min(left, int64(1<<62/time.Microsecond))) * time.Microsecond,
	}, nil
}
