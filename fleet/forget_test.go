// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/enginetest"
)

// What Forget reaches, and what comes late: faults of the engine, in bubbles.

// A load that runs without the engine has no record that a Forget could find.
// So it is not joined any more once the engine answers.
func TestForgetReachesALoadWithoutEngine(t *testing.T) {
	lost := enginetest.Line{Requests: enginetest.Way{Lost: true}}
	for name, line := range map[string]enginetest.Line{"cut": cut, "silent": silent, "lost": lost} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				n[0].line.SetLine(line)
				old := n[0].begin(t, "k")
				n[0].line.SetLine(good)
				time.Sleep(5 * lease / 2)
				n[1].forget(t, "k")
				time.Sleep(news)
				wantGot(t, "a call after Forget", n[0].call(t, "k", "new"), "new")
				old.give("old")
				old.want(t, "the caller from before", "old")
			})
		})
	}
}

// The same for a load that runs since the value from elsewhere was withheld.
func TestForgetReachesALoadAfterAWithheldValue(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
		first := n[0].begin(t, "k")
		old := n[1].ask(t, "k")
		time.Sleep(time.Second)
		first.give(unencodable)
		old.awaitFn(t)
		time.Sleep(5 * lease / 2)
		n[2].forget(t, "k")
		time.Sleep(news)
		wantGot(t, "a call after Forget", n[1].call(t, "k", "new"), "new")
		old.give("old")
		old.want(t, "the caller from before", "old")
	}, fleet.Encoding(codec{}))
}

// The same for a holder that was cut off for longer than its lease.
func TestForgetReachesAHolderThatWasCutOff(t *testing.T) {
	for name, line := range broken {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				old := n[0].begin(t, "k")
				n[0].line.SetLine(line)
				time.Sleep(2 * lease)
				n[0].line.SetLine(good)
				time.Sleep(5 * lease / 2)
				n[1].forget(t, "k")
				time.Sleep(news)
				wantGot(t, "a call after Forget", n[0].call(t, "k", "new"), "new")
				old.want(t, "the caller from before, whose lease was lost", "new")
			})
		})
	}
}

// The same for a holder whose lease was lost in the engine.
func TestForgetReachesAHolderWhoseRecordIsGone(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		store.StepClock(time.Hour)
		time.Sleep(lease)
		n[1].forget(t, "k")
		time.Sleep(news)
		wantGot(t, "a call after Forget", n[0].call(t, "k", "new"), "new")
		old.want(t, "the caller from before, whose lease was lost", "new")
	})
}

// A claim is held up, so its process loads without an answer. Then another
// process forgets the key, and finds nothing. The claim that arrives after
// that is not to give later callers the load from before.
func TestLateClaimDoesNotDefeatForget(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, lease - 5*time.Second, lease, 2 * lease} {
		t.Run(fmt.Sprint("after=", after), func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Held: true}})
				old := n[0].begin(t, "k")
				n[1].forget(t, "k")
				time.Sleep(after)
				n[0].line.SetLine(good) // the claim arrives
				time.Sleep(100 * time.Millisecond)
				newer := make(chan string)
				go func() { newer <- n[1].call(t, "k", "new") }()
				synctest.Wait()
				time.Sleep(lease / 4)
				old.give("old")
				old.want(t, "the caller from before", "old")
				wantGot(t, "a call after Forget", <-newer, "new")
			})
		})
	}
}

// The answer to a claim is lost. When the claim is found to have got through,
// part of its lease has gone, so it is renewed at once.
func TestClaimThatIsReadBackIsRenewedAtOnce(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Answers: enginetest.Way{Held: true}})
		l := n[0].begin(t, "k")
		there := make(chan string)
		go func() { there <- n[1].call(t, "k", "another load") }()
		time.Sleep(1200 * time.Millisecond) // 1.7 s since the claim
		n[0].line.SetLine(good)
		time.Sleep(3 * time.Second)
		l.give("v")
		l.want(t, "where fn ran", "v")
		wantGot(t, "elsewhere", <-there, "v")
	}, fleet.Lease(2*time.Second), fleet.EngineTimeout(500*time.Millisecond))
}

// Processes that require the engine's leave load one after the other where
// the value cannot be sent.
func TestWithheldValueWithRequireEngine(t *testing.T) {
	inFleet(t, 4, func(t *testing.T, store *enginetest.Fake, n []node) {
		running, most, loads := 0, 0, 0
		results := make(chan result)
		for _, n := range n {
			go func() {
				v, err, _ := n.DoContext(t.Context(), "k", func(context.Context) (string, error) {
					running++ // in a bubble with sleeps, one goroutine at a time runs here
					loads++
					most = max(most, running)
					time.Sleep(time.Second)
					running--
					return unencodable, nil
				})
				results <- result{v: v, err: err}
			}()
		}
		for range n {
			if r := <-results; r.v != unencodable || r.err != nil {
				t.Errorf("a call got %+v, want the value", r)
			}
		}
		if most != 1 || loads != len(n) {
			t.Errorf("%d loads, %d at a time, want %d, one at a time", loads, most, len(n))
		}
	}, fleet.RequireEngine(), fleet.Encoding(codec{}))
}

// Forget gives the load of a dead process no more time.
func TestForgetDoesNotProlongATakeover(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].begin(t, "k")
		n[0].line.SetLine(cut)
		died := time.Now()
		tookOver := make(chan time.Duration, 1)
		go n[1].DoContext(t.Context(), "k", func(context.Context) (string, error) {
			tookOver <- time.Since(died)
			return "v", nil
		})
		time.Sleep(3500 * time.Millisecond)
		n[2].forget(t, "k")
		if d := <-tookOver; d < 4*time.Second-100*time.Millisecond || d > 5*time.Second {
			t.Errorf("took over after %v, want the lease of 4s, and a second at most", d)
		}
	}, fleet.Lease(4*time.Second), fleet.EngineTimeout(time.Second))
}

// A call that joins where the holder is cut off gets no old value, however
// long the engine keeps results.
func TestLateJoinerOfACutOffHolder(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		n[0].line.SetLine(cut)
		time.Sleep(lease + time.Second)
		wantGot(t, "who takes over", n[1].call(t, "k", "newer"), "newer")
		time.Sleep(15 * time.Second)
		wantGot(t, "a call at the holder, 15 s later", n[0].call(t, "k", "newest"), "newest")
		n[0].line.SetLine(good)
		old.want(t, "the holder's first caller", "newer")
	}, fleet.Linger(time.Hour))
}

// A result that is held up on its way is not delivered after the lease.
func TestHeldUpResultIsDeliveredWithinTheLeaseOrNot(t *testing.T) {
	for _, late := range []time.Duration{lease / 2, lease + time.Second} {
		t.Run(fmt.Sprint("late=", late), func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				l := n[0].begin(t, "k")
				n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Late: late}})
				l.give("old")
				l.want(t, "where fn ran", "old")
				n[0].line.SetLine(cut)
				want := "old" // its holder could not say that it has ended
				if late > lease {
					want = "new"
				}
				wantGot(t, "a call elsewhere", n[1].call(t, "k", "new"), want)
			})
		})
	}
}

// A connection that is silent, but not known to be down, costs one call the
// EngineTimeout, and the next ones nothing; and it is tried again.
func TestSilentEngineCostsOneCall(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(silent)
		var took []time.Duration
		for range 4 {
			began := time.Now()
			wantGot(t, "a call", n[0].call(t, "k", "v"), "v")
			took = append(took, time.Since(began))
		}
		for i, want := range []time.Duration{timeout, 0, 0, 0} {
			if took[i] != want {
				t.Errorf("calls took %v, want 2s and then nothing", took)
				break
			}
		}
		time.Sleep(2 * lease) // until nobody asks
		n[0].line.SetLine(good)
		n[0].call(t, "k", "v")
		if s := n[0].Stats(); s.Fallbacks != 4 {
			t.Errorf("%d fallbacks of 5 calls, want 4: the engine is asked again", s.Fallbacks)
		}
	})
}

// One request that is not answered says nothing, if others are.
func TestOneSlowRequestDoesNotMakeAnEngineSilent(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Late: 2 * timeout}})
		l := n[0].ask(t, "slow")
		synctest.Wait()
		n[0].line.SetLine(good)
		time.Sleep(timeout / 2)
		n[0].call(t, "k", "v")
		l.awaitFn(t)
		n[0].call(t, "k", "v")
		if s := n[0].Stats(); s.Fallbacks != 1 {
			t.Errorf("%d fallbacks of 3 calls, want 1", s.Fallbacks)
		}
		l.give("v")
		l.want(t, "the slow one", "v")
	})
}
