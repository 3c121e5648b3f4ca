package subscriber

import (
	"cmp"
	"strings"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// ownPrefix begins every subject that is ours and not the publishers'.
	ownPrefix = "bridge"
	// defaultPrefix is the subject prefix of a deployment that configures none. Only its public
	// names, those that other programs read, are without the prefix.
	defaultPrefix = "codewar"
	inboxPrefix   = "_INBOX"
)

// reservedPrefixes are first tokens that nats.subject_prefix must not have. The last two follow
// "bridge." in the public subjects of the default deployment.
var reservedPrefixes = []string{ownPrefix, inboxPrefix, "dead", "events"}

// withNames returns c with the stream names that are not configured derived from the subject
// prefix, so that two deployments in one NATS account share no stream.
func (c Config) withNames() Config {
	c.Stream.Name = cmp.Or(c.Stream.Name, c.prefixName())
	c.DeadLetter.Stream = cmp.Or(c.DeadLetter.Stream, c.ownName("BRIDGE_DEAD"))
	return c
}

// prefixName is the subject prefix as the name of a stream.
func (c Config) prefixName() string {
	return strings.ToUpper(strings.ReplaceAll(c.SubjectPrefix, ".", "_"))
}

// ownName is the name of a stream or bucket of this deployment.
func (c Config) ownName(name string) string {
	if c.SubjectPrefix == defaultPrefix {
		return name
	}
	return name + "_" + c.prefixName()
}

// internalSubject returns a subject that only the nodes of this deployment use.
func (c Config) internalSubject(tokens string) string {
	return ownPrefix + "." + c.SubjectPrefix + "." + tokens
}

// nodeSubject is where node takes what the leader forwards.
func (c Config) nodeSubject(node bridge.NodeID) string {
	return c.internalSubject("node." + string(node))
}

// querySubject is where node receives operators' queries of one kind.
func (c Config) querySubject(node bridge.NodeID, kind string) string {
	return c.internalSubject("ask." + string(node) + "." + kind)
}

// identitySubject is where each process with that node id says which one it is.
func (c Config) identitySubject(node bridge.NodeID) string {
	return c.internalSubject("id." + string(node))
}

// resignedSubject is where a leader says that it stops.
func (c Config) resignedSubject() string { return c.internalSubject("resigned") }

// aliveSubject is where each node says that it lives.
func (c Config) aliveSubject() string { return c.internalSubject("alive") }

// leaderSubject is where a process that leads answers that it lives.
func (c Config) leaderSubject(holder string) string { return c.internalSubject("leader." + holder) }

// leaseBucket is the key-value bucket that says who leads.
func (c Config) leaseBucket() string { return c.ownName("BRIDGE_LEASE") }

// historySubject is where the leader is asked what sockets have missed.
func (c Config) historySubject() string { return c.internalSubject("history") }

// withdrawnStream keeps which messages were withdrawn, on withdrawnSubject.
func (c Config) withdrawnStream() string  { return c.ownName("BRIDGE_WITHDRAWN") }
func (c Config) withdrawnSubject() string { return c.internalSubject("withdrawn") }

// recordStream keeps delivery records; recordSubjects is the prefix, with its dot, of its subjects.
func (c Config) recordStream() string   { return c.ownName("BRIDGE_RECORDS") }
func (c Config) recordSubjects() string { return c.internalSubject("records.") }

// deadSubjects is the prefix, with its dot, of the subjects of dead letters.
func (c Config) deadSubjects() string {
	if c.SubjectPrefix == defaultPrefix {
		return ownPrefix + ".dead."
	}
	return c.internalSubject("dead.")
}

// KeyPrefix is what the keys of this deployment in a shared store begin with, where no other
// prefix is configured.
func (c Config) KeyPrefix() string {
	if c.SubjectPrefix == defaultPrefix {
		return ownPrefix
	}
	return ownPrefix + ":" + c.SubjectPrefix
}
