package main

import (
	"context"
	"fmt"
	"time"

	"github.com/winchdata/winch/internal/scheduler"
	"github.com/winchdata/winch/internal/scheduler/riverqueue"
	"github.com/winchdata/winch/internal/sink"
	"github.com/winchdata/winch/internal/sink/postgres"
)

// askEvery is how often an agent looks whether it is to drain.
const askEvery = time.Second

// openQueue opens the server's queue: the one that agents share, or where one agent
// serves, its own. It returns the name that decisions are signed with.
func (s *server) openQueue(ctx context.Context) (agent string, shut func(), err error) {
	shared, ok := s.store.(*postgres.Sink)
	if !ok {
		s.queue = scheduler.NewLocal()
		return agentName(), func() {}, nil
	}
	id, err := shared.AgentID(ctx)
	if err != nil {
		return "", nil, err
	}
	queue, err := s.app.openQueue(ctx, shared, riverqueue.Options{
		OnTakeOver: func(lost sink.Run) {
			s.line(serveLine{Event: "taken over", Source: lost.Source, Run: lost.ID, Message: "its agent is gone"},
				fmt.Sprintf("%s: the agent of run %d is gone", lost.Source, lost.ID))
		},
	})
	if err != nil {
		return "", nil, err
	}
	s.queue = queue
	return fmt.Sprintf("agent %d, %s", id, agentName()), queue.Close, nil
}

// drained reports whether a person asked this agent to drain.
func (s *server) drained() bool {
	shared, ok := s.store.(*postgres.Sink)
	return ok && shared.Draining()
}
