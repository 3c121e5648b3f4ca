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
	suffix := strings.ToUpper(strings.ReplaceAll(c.SubjectPrefix, ".", "_"))
	c.Stream.Name = cmp.Or(c.Stream.Name, suffix)
	dead := "BRIDGE_DEAD"
	if c.SubjectPrefix != defaultPrefix {
		dead += "_" + suffix
	}
	c.DeadLetter.Stream = cmp.Or(c.DeadLetter.Stream, dead)
	return c
}

// internalSubject returns a subject that only the nodes of this deployment use.
func (c Config) internalSubject(tokens string) string {
	return ownPrefix + "." + c.SubjectPrefix + "." + tokens
}

// nodeSubject is where node takes what the leader forwards.
func (c Config) nodeSubject(node bridge.NodeID) string {
	return c.internalSubject("node." + string(node))
}

// questionSubject is where node takes operators' questions of one kind.
func (c Config) questionSubject(node bridge.NodeID, kind string) string {
	return c.internalSubject("ask." + string(node) + "." + kind)
}

// identitySubject is where each process with that node id says which one it is.
func (c Config) identitySubject(node bridge.NodeID) string {
	return c.internalSubject("id." + string(node))
}

// resignedSubject is where a leader says that it stops.
func (c Config) resignedSubject() string { return c.internalSubject("resigned") }

// leaderSubject is where a process that leads answers that it lives.
func (c Config) leaderSubject(holder string) string { return c.internalSubject("leader." + holder) }

// leaseBucket is the key-value bucket that says who leads.
func (c Config) leaseBucket() string {
	if c.SubjectPrefix == defaultPrefix {
		return "BRIDGE_LEASE"
	}
	return "BRIDGE_LEASE_" + strings.ToUpper(strings.ReplaceAll(c.SubjectPrefix, ".", "_"))
}

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
