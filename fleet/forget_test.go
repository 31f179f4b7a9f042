// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
	"example.com/singleflight/fleet/internal/fleettest"
)

// Forget, and late messages, with faults of the engine, in bubbles.

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
				old.Want(t, "the caller from before", "old")
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
		old.Want(t, "the caller from before", "old")
	}, fleet.Encoding(codec{}))
}

// The same for a holder that was cut off for longer than its lease.
func TestForgetReachesAHolderThatWasCutOff(t *testing.T) {
	for name, line := range map[string]enginetest.Line{"cut": cut, "silent": silent} {
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
				old.Want(t, "the caller from before, whose lease was lost", "new")
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
		old.Want(t, "the caller from before, whose lease was lost", "new")
	})
}

// A claim is held up, so its process loads without an answer. Then another
// process forgets the key, and finds nothing. When the claim arrives after that,
// later callers must not join the load from before.
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
				old.Want(t, "the caller from before", "old")
				wantGot(t, "a call after Forget", <-newer, "new")
			})
		})
	}
}

// The late claim is released, and costs nothing more.
func TestLateClaimIsReleased(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Held: true}})
		l := n[0].begin(t, "k")
		n[0].line.SetLine(good) // the claim arrives
		time.Sleep(2 * time.Second)
		began := time.Now()
		wantGot(t, "a call elsewhere", n[1].call(t, "k", "its own"), "its own")
		wantTook(t, "its result", began, 0)
		before := n[0].asked.reads.Load()
		time.Sleep(2 * lease)
		if reads := n[0].asked.reads.Load() - before; reads != 0 {
			t.Errorf("%d reads after the release, want none", reads)
		}
		l.give("v")
		l.Want(t, "the caller", "v")
	})
}

// A claim that arrives after its callers have left is released.
func TestClaimThatArrivesAfterItsCallersIsReleased(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Late: 6 * time.Second}})
		c := n[0].start(t, "k", fleettest.Never)
		settle()
		n[0].line.SetLine(good)
		c.Cancel()
		c.WantErr(t, "the caller that left", context.Canceled)
		time.Sleep(9 * time.Second) // it has arrived
		began := time.Now()
		wantGot(t, "the next call", n[1].call(t, "k", "v"), "v")
		wantTook(t, "the next call", began, 0)
		before := n[0].asked.reads.Load()
		time.Sleep(2 * lease)
		if reads := n[0].asked.reads.Load() - before; reads != 0 {
			t.Errorf("%d reads after the release, want none", reads)
		}
	})
}

// The same if another load has begun and ended since the Forget.
func TestLateClaimAfterANewerLoad(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Held: true}})
		old := n[0].begin(t, "k")
		n[1].forget(t, "k")
		wantGot(t, "the first call after Forget", n[1].call(t, "k", "new"), "new")
		time.Sleep(5 * time.Second / 2) // until nothing of that is left
		n[0].line.SetLine(good)         // the claim arrives
		time.Sleep(100 * time.Millisecond)
		newer := make(chan string)
		go func() { newer <- n[1].call(t, "k", "newer") }()
		time.Sleep(lease / 4)
		old.give("old")
		old.Want(t, "the caller from before", "old")
		wantGot(t, "the second call after Forget", <-newer, "newer")
	})
}

// A claim that was stored, but not answered, has been forgotten when its process
// finds it, and no update says so.
func TestForgetReachesAClaimThatWasNotAnswered(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		deaf := enginetest.Way{Held: true}
		n[0].line.SetLine(enginetest.Line{Answers: enginetest.Way{Lost: true}, News: deaf})
		old := n[0].begin(t, "k")
		n[1].forget(t, "k")
		n[0].line.SetLine(enginetest.Line{News: deaf})
		time.Sleep(2 * lease)
		wantGot(t, "a call after Forget", n[0].call(t, "k", "new"), "new")
		old.give("old")
		old.Want(t, "the caller from before", "old")
	})
}

// A claim that was stored in time, and is read back while fn runs, is watched from
// then on.
func TestForgetReachesAClaimThatWasReadBack(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Answers: enginetest.Way{Lost: true}})
		old := n[0].begin(t, "k")
		n[0].line.SetLine(good)
		time.Sleep(2 * time.Second)
		n[1].forget(t, "k")
		time.Sleep(news)
		wantGot(t, "a call after Forget", n[0].call(t, "k", "new"), "new")
		old.give("old")
		old.Want(t, "the caller from before", "old")
	})
}

// The answer to a claim is lost. When the claim is read back, part of its lease
// has passed, so it is renewed at once.
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
		l.Want(t, "where fn ran", "v")
		wantGot(t, "elsewhere", <-there, "v")
	}, fleet.Lease(2*time.Second), fleet.EngineTimeout(500*time.Millisecond))
}

// Processes with RequireEngine load one after the other if the value cannot be
// sent.
func TestWithheldValueWithRequireEngine(t *testing.T) {
	inFleet(t, 4, func(t *testing.T, store *enginetest.Fake, n []node) {
		running, most, loads := 0, 0, 0
		results := make(chan fleettest.Answer)
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
				results <- fleettest.Answer{V: v, Err: err}
			}()
		}
		for range n {
			if r := <-results; r.V != unencodable || r.Err != nil {
				t.Errorf("a call got %+v, want the value", r)
			}
		}
		if most != 1 || loads != len(n) {
			t.Errorf("%d loads, %d at a time, want %d, one at a time", loads, most, len(n))
		}
	}, fleet.RequireEngine(), fleet.Encoding(codec{}))
}

// The same for a load that was forgotten, while the key has a newer load.
func TestWithheldValueOfAForgottenLoad(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		n[2].forget(t, "k")
		newer := n[2].begin(t, "k")
		settle()
		old.give(unencodable)
		old.Want(t, "where fn ran", unencodable)
		time.Sleep(2 * lease)
		if newer.ctx.Err() != nil {
			t.Error("the newer load was canceled")
		}
		newer.give("v")
		newer.Want(t, "the newer load's caller", "v")
		there.Want(t, "the caller that waited for the forgotten load", "v")
	}, fleet.RequireEngine(), fleet.Encoding(codec{}))
}

// Forget does not prolong the lease of a dead process, except by rounding to the
// engine's unit.
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
		unit := n[0].line.Limits().Granularity
		if d := <-tookOver; d < 4*time.Second || d > 5*time.Second+unit {
			t.Errorf("took over after %v, want the lease of 4s, and at most a second and %v", d, unit)
		}
	}, fleet.Lease(4*time.Second), fleet.EngineTimeout(time.Second))
}

// Nor does a Forget at the end of the lease, or when the engine is late to end
// it, or a Forget that is broken off.
func TestForgetDoesNotProlongATakeoverInAnyCase(t *testing.T) {
	for name, tt := range map[string]struct {
		after  time.Duration
		writes int // after which the forgetter is cut off
	}{
		"late":              {4*time.Second + late - 100*time.Millisecond, 100},
		"after one write":   {3 * time.Second, 1},
		"after two writes":  {3 * time.Second, 2},
		"after all of them": {3 * time.Second, 3},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
				n[0].begin(t, "k")
				n[0].line.SetLine(cut)
				died := time.Now()
				tookOver := make(chan time.Duration, 1)
				go n[1].DoContext(t.Context(), "k", func(context.Context) (string, error) {
					tookOver <- time.Since(died)
					return "v", nil
				})
				time.Sleep(tt.after)
				writes := 0
				n[2].asked.before = func(engine.Name) {
					if writes++; writes > tt.writes {
						n[2].line.SetLine(cut)
					}
				}
				n[2].Forget(t.Context(), "k") // which may fail
				if d := <-tookOver; d < 4*time.Second || d > 5*time.Second {
					t.Errorf("took over after %v, want the lease of 4s, and a second at most", d)
				}
			}, fleet.Lease(4*time.Second), fleet.EngineTimeout(time.Second))
		})
	}
}

// The lease of a dead process ends between the moment when a call finds it
// and the moment when its watch begins. The watch shows that it is gone.
func TestLeaseEndsBeforeTheWatchBegins(t *testing.T) {
	for d := -6 * time.Millisecond; d < 0; d += time.Millisecond / 4 {
		t.Run(d.String(), func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				n[0].begin(t, "k")
				n[0].line.SetLine(cut)
				died := time.Now()
				time.Sleep(lease + late + d)
				wantGot(t, "a call", n[1].call(t, "k", "v"), "v")
				if d := time.Since(died); d > lease+time.Second {
					t.Errorf("took over after %v, want the lease of 10s, and a second at most", d)
				}
			})
		})
	}
}

// The load ends, and another begins, while Forget runs. A process that gets no
// update of that waits for the copy, but not beyond the end of the lease.
func TestForgetLeavesACopyForALeaseAtMost(t *testing.T) {
	inFleet(t, 4, func(t *testing.T, store *enginetest.Fake, n []node) {
		first := n[0].begin(t, "k")
		returned := make(chan time.Time)
		go func() {
			n[1].call(t, "k", "own")
			returned <- time.Now()
		}()
		time.Sleep(news)
		n[1].line.SetLine(enginetest.Line{News: enginetest.Way{Held: true}})
		var ended time.Time
		n[2].asked.before = func(name engine.Name) {
			if name.Part == "current" && ended.IsZero() {
				first.give("first")
				first.Wait(t)
				ended = time.Now()
				second := n[3].begin(t, "k")
				time.AfterFunc(time.Second, func() { second.give("second") })
				n[1].line.LoseWatches() // it hears only of what is there now
				n[1].line.SetLine(good)
			}
		}
		n[2].forget(t, "k")
		if d := (<-returned).Sub(ended); d > lease+2*time.Second {
			t.Errorf("the process that waited for the first load returned %v after its end, want the lease and two seconds at most", d)
		}
	})
}

// A panic of the codec is handled like one of fn: the others are told at once.
func TestMarshalPanicReachesEveryProcess(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		panics := make(chan any)
		go func() {
			defer func() { panics <- recover() }()
			n[0].DoContext(t.Context(), "k", func(context.Context) (string, error) {
				time.Sleep(time.Second)
				return explosive, nil
			})
		}()
		time.Sleep(news)
		began := time.Now()
		_, err, _ := n[1].DoContext(t.Context(), "k", fleettest.Never)
		if remote, ok := errors.AsType[*fleet.RemoteError](err); !ok || time.Since(began) > time.Second+news {
			t.Errorf("elsewhere: %v after %v, want a RemoteError after 1s", remote, time.Since(began))
		}
		if p := <-panics; p == nil {
			t.Error("where fn ran: no panic")
		}
	}, fleet.Encoding(codec{}))
}

// A holder whose lease was lost, and whose connection is then down, does not spin
// while it waits. (In a bubble no time would pass.)
func TestHolderWaitsForItsConnection(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		store.StepClock(time.Hour)
		time.Sleep(time.Second)
		n[0].line.SetLine(cut)
		time.Sleep(time.Second)
		l.give("v")
		l.Want(t, "the caller", "v")
	})
}

// A process that gets no updates finds that the load it waits for was given up,
// and that another process has loaded since. It takes that result.
func TestResultOfTheNextLoadIsTaken(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
		first := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		n[1].line.SetLine(deaf)
		first.Cancel()
		settle()
		wantGot(t, "the next call", n[2].call(t, "k", "next"), "next")
		there.Want(t, "the process that waited", "next")
	}, fleet.Linger(time.Hour))
}

// A holder that gets no updates has found that its lease was lost. It asks
// again when fn has returned, since another load may have begun meanwhile.
func TestHolderAsksAgainBeforeItGivesItsOwnValue(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		n[0].line.SetLine(deaf)
		store.StepClock(time.Hour)
		time.Sleep(lease/2 + time.Second)
		newer := n[1].begin(t, "k")
		old.give("old")
		n[0].line.SetLine(good)
		time.Sleep(time.Second)
		newer.give("new")
		newer.Want(t, "the newer load's caller", "new")
		old.Want(t, "the older load's caller", "new")
	})
}

// A call that joins a load whose holder is cut off gets no old value, however long
// the engine keeps results.
func TestLateJoinerOfACutOffHolder(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		n[0].line.SetLine(cut)
		time.Sleep(lease + time.Second)
		wantGot(t, "who takes over", n[1].call(t, "k", "newer"), "newer")
		time.Sleep(15 * time.Second)
		wantGot(t, "a call at the holder, 15 s later", n[0].call(t, "k", "newest"), "newest")
		n[0].line.SetLine(good)
		old.Want(t, "the holder's first caller", "newer")
	}, fleet.Linger(time.Hour))
}

// Until its lease ends, a holder that is cut off is joined, although a renewal has
// failed.
func TestEarlyJoinerOfACutOffHolder(t *testing.T) {
	for name, line := range broken {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
				l := n[0].begin(t, "k")
				n[0].line.SetLine(line)
				time.Sleep(lease - time.Second)
				joined := n[0].start(t, "k", fleettest.Never)
				settle()
				l.give("v")
				l.Want(t, "first", "v")
				joined.Want(t, "second", "v")
			})
		})
	}
}

// A result that is held up on its way is not delivered after the lease.
func TestHeldUpResultIsDeliveredWithinTheLeaseOrNot(t *testing.T) {
	for _, late := range []time.Duration{lease / 2, lease + time.Second} {
		t.Run(fmt.Sprint("late=", late), func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				l := n[0].begin(t, "k")
				n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Late: late}})
				l.give("old")
				l.Want(t, "where fn ran", "old")
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
// EngineTimeout, and the next ones nothing. It is tried again later.
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
		time.Sleep(2 * lease) // until the process no longer asks the engine
		n[0].line.SetLine(good)
		n[0].call(t, "k", "v")
		if s := n[0].Stats(); s.Fallbacks != 4 {
			t.Errorf("%d fallbacks of 5 calls, want 4: the engine is asked again", s.Fallbacks)
		}
	})
}

// When it is time to ask again, one of the calls does, and the others load at once.
// Long after, nothing is known of the engine, and all ask.
func TestSilentEngineIsAskedByOneCall(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		twoCalls := func() (took []time.Duration) {
			began := time.Now()
			done := make(chan time.Duration)
			for _, key := range []string{"a", "b"} {
				go func() {
					wantGot(t, "a call", n[0].call(t, key, "v"), "v")
					done <- time.Since(began)
				}()
			}
			return []time.Duration{<-done, <-done}
		}
		n[0].line.SetLine(silent)
		n[0].call(t, "k", "v")
		time.Sleep(2 * lease) // until the process no longer asks the engine
		if took := twoCalls(); took[0] != 0 || took[1] != timeout {
			t.Errorf("two calls took %v, want 0s and %v", took, timeout)
		}
		time.Sleep(2 * lease)
		n[0].line.SetLine(good)
		time.Sleep(lease)
		before := n[0].Stats().Fallbacks
		twoCalls()
		if f := n[0].Stats().Fallbacks - before; f != 0 {
			t.Errorf("%d fallbacks of two calls long after, want none", f)
		}
	})
}

// The call that tests whether a silent engine answers again may have no
// connection. That does not make the next calls wait.
func TestCallThatAsksAgainMayFail(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Lost: true}})
		n[0].call(t, "k", "v")
		time.Sleep(2 * lease) // until the process no longer asks the engine
		n[0].line.SetLine(cut)
		n[0].call(t, "k", "v")
		n[0].line.SetLine(good)
		n[0].call(t, "k", "v")
		if s := n[0].Stats(); s.Fallbacks != 2 {
			t.Errorf("%d fallbacks of 3 calls, want 2", s.Fallbacks)
		}
	})
}

// An engine that refuses all writes costs a process few goroutines. When it works
// again, keys are released as ever.
func TestBrokenEngineCostsFewGoroutines(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		e := &refusesWrites{Conn: store.Connect()}
		e.broken.Store(true)
		g, err := fleet.New[string](e)
		if err != nil {
			t.Fatal(err)
		}
		before := runtime.NumGoroutine()
		for i := range 1000 {
			if v, err, _ := g.DoContext(t.Context(), fmt.Sprint(i), fleettest.Returns("v")); v != "v" || err != nil {
				t.Fatalf("DoContext: %q, %v, want v", v, err)
			}
		}
		if n := runtime.NumGoroutine() - before; n > 200 {
			t.Errorf("%d goroutines more, want at most 200", n)
		}
		time.Sleep(4 * lease)

		e.broken.Store(false)
		l, c, _ := fleettest.Begin(t, g, "k")
		there := n[0].ask(t, "k")
		settle()
		e.broken.Store(true)
		l.Give("v")
		c.Want(t, "where fn ran", "v")
		e.broken.Store(false)
		mended := time.Now()
		there.awaitFn(t)
		if d := time.Since(mended); d > 2*time.Second {
			t.Errorf("another process loaded after %v, want two seconds at most", d)
		}
		there.give("its own")
		there.Want(t, "elsewhere", "its own")
	})
}

// An engine that cannot serve is left alone for half a lease, as a silent one is.
func TestBrokenEngineIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewFake(enginetest.FakeOptions{})
		defer store.Close()
		e := &counted{Engine: refusesAll{store.Connect()}}
		g, err := fleet.New[string](e)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if v, err, _ := g.DoContext(t.Context(), "k", fleettest.Returns("v")); v != "v" || err != nil {
				t.Fatalf("DoContext: %q, %v, want v", v, err)
			}
		}
		if n := e.writes.Load(); n != 1 {
			t.Errorf("%d claims of 100 calls, want 1", n)
		}
		time.Sleep(2 * lease)
	})
}

// A refusesAll engine refuses all requests.
type refusesAll struct{ *enginetest.Conn }

func (refusesAll) Write(context.Context, engine.Name, engine.Put) (uint64, error) {
	return 0, errors.New("refused")
}

func (refusesAll) Latest(context.Context, engine.Name) (engine.Entry, error) {
	return engine.Entry{}, errors.New("refused")
}

// A refusesWrites engine refuses writes while it is broken.
type refusesWrites struct {
	*enginetest.Conn
	broken atomic.Bool
}

func (e *refusesWrites) Write(ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
	if e.broken.Load() {
		return 0, errors.New("refused")
	}
	return e.Conn.Write(ctx, name, put)
}

// One request without an answer does not count if others are answered.
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
		l.Want(t, "the slow one", "v")
	})
}

// A holder whose watch is lost watches again soon, and so hears of a Forget long
// before its next renewal.
func TestForgetReachesAHolderWhoseWatchWasLost(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		settle()
		n[0].line.LoseWatches()
		time.Sleep(2 * time.Second)
		n[1].forget(t, "k")
		time.Sleep(news)
		wantGot(t, "a call after Forget", n[0].call(t, "k", "new"), "new")
		old.give("old")
		old.Want(t, "the caller from before", "old")
	})
}

// If a result cannot be sent, its process releases the key as soon as it can,
// so that the others need not wait for the end of the lease.
func TestResultThatCannotBeSentReleasesTheKey(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		there := n[1].ask(t, "k")
		settle()
		n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Lost: true}})
		l.give("v")
		l.Want(t, "where fn ran", "v")
		if s := n[0].Stats(); s.Unsent != 1 {
			t.Errorf("%d results unsent, want 1", s.Unsent)
		}
		n[0].line.SetLine(good)
		back := time.Now()
		there.awaitFn(t)
		if d := time.Since(back); d > timeout+2*time.Second {
			t.Errorf("another process loaded %v after the line was good, want the EngineTimeout of 2s and two seconds at most", d)
		}
		there.give("its own")
		there.Want(t, "elsewhere", "its own")
	})
}
