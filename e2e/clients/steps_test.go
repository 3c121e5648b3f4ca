package clients

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// steps are what an application does with its socket, in this order. Their documentation
// is in docs/compatibility.md.
var steps = []struct {
	name  string
	do    func(*cell) (account, error)
	about string
}{
	{"map", stepMap, "connect, `setUserId` with an acknowledgement"},
	{"id", stepConnectionID, "`getConnectionId` tells the socket's id"},
	{"NATS", func(c *cell) (account, error) { return c.receive(1) }, "a message over NATS"},
	{"HTTP", stepHTTP, "a message over `/sendPayload`, which answers 200"},
	{"burst", func(c *cell) (account, error) { return c.receive(200) }, "200 messages at once; a client that upgrades does so meanwhile"},
	{"transport", stepTransport, "the client uses the transport that it was told to use"},
	{"cut", stepCutAlone, "the connection is cut, 20 messages are missed, the client reconnects by itself"},
	{"tabs", stepTwoTabs, "a second tab of the user: both get 5 messages, `getConnectionId` tells the newer socket"},
	{"cut beside a tab", stepCutBesides, "the first is cut and misses 20 messages that the second gets"},
	{"other user", stepOtherUser, "another user, for whom 10 messages wait, logs in on the first's socket object; 15 for the old user go to the second only"},
	{"leave", stepLeave, "both leave: `/sendPayload` answers 404"},
}

// first is the tab that all steps are about, behind the cutter; second is the other one.
const first, second = "first", "second"

func stepMap(c *cell) (account, error) {
	var auth map[string]any
	if c.client.asks {
		auth = map[string]any{"resume": true}
	}
	t, err := c.open(first, c.cutter.url, auth)
	if err != nil {
		return account{}, stop(err)
	}
	return account{}, stop(t.setUser(c.user))
}

func stepConnectionID(c *cell) (account, error) {
	t := c.tabs[first]
	got, err := t.roundTrip(c.user)
	if err == nil && got != t.id {
		err = fmt.Errorf("it is %q, the socket's is %q", got, t.id)
	}
	return account{}, err
}

// receive sends messages to the first tab, the only one.
func (c *cell) receive(count int) (account, error) {
	t := c.tabs[first]
	if err := c.publish(c.user, count, t); err != nil {
		return account{}, err
	}
	return c.settle(c.user, t)
}

func stepHTTP(c *cell) (account, error) {
	t := c.tabs[first]
	status, err := c.post("", c.user, t)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/sendPayload answers %d", status)
	}
	a, failed := c.settle(c.user, t)
	return a, errors.Join(err, failed)
}

// stepTransport: the client uses what it was told to. One that starts by polling has
// upgraded by now, during the burst.
func stepTransport(c *cell) (account, error) {
	t := c.tabs[first]
	return account{}, retry(10*time.Millisecond, func() error {
		answer, err := t.call("transport", "")
		if err == nil && string(answer[0]) != strconv.Quote(c.client.uses()) {
			err = fmt.Errorf("it is %s", answer[0])
		}
		return err
	})
}

// cut cuts off tabs behind the cutter, does something, lets the tabs return by themselves and
// maps them again, as an application does in its handler of connect.
func (c *cell) cut(meanwhile func() error, away ...*tab) error {
	// Nothing is under way: a cursor that comes in an event of its own comes after the
	// message, which is shown again when the connection breaks between (docs/clients.md).
	for _, t := range away {
		if err := t.quiet(c.user); err != nil {
			return err
		}
	}
	before := make([]int, len(away))
	c.mu.Lock()
	for i, t := range away {
		before[i] = t.connects
	}
	c.mu.Unlock()
	c.cutter.cut()
	err := c.until("the connections are lost", func() string {
		for _, t := range away {
			if t.id != "" {
				return t.name + " is connected"
			}
		}
		return ""
	})
	if err == nil {
		err = meanwhile()
	}
	c.cutter.restore()
	if err != nil {
		return err
	}
	for i, t := range away {
		if err := t.connected(before[i] + 1); err != nil {
			return err
		}
		if err := t.setUser(c.user); err != nil {
			return err
		}
	}
	return nil
}

// gone waits until the server knows that sockets of the user have gone: one that has not
// is the newest. The Node service may know only after a minute.
func (c *cell) gone(left *tab, ids ...string) error {
	if c.server.newest {
		return nil
	}
	const pause = 250 * time.Millisecond // a socket may send 100 events a minute
	return retry(pause, func() error {
		id, err := left.roundTrip(c.user)
		if err == nil && slices.Contains(ids, id) {
			err = errors.New("the server still has a socket that has gone")
		}
		return err
	})
}

func stepCutAlone(c *cell) (account, error) {
	t := c.tabs[first]
	if err := c.cut(func() error { return c.publish(c.user, 20, t) }, t); err != nil {
		return account{}, stop(err)
	}
	return c.settle(c.user, t)
}

func stepTwoTabs(c *cell) (account, error) {
	one := c.tabs[first]
	other, err := c.open(second, c.direct(), nil)
	if err != nil {
		return account{}, stop(err)
	}
	if err := other.setUser(c.user); err != nil {
		return account{}, stop(err)
	}
	got, err := one.roundTrip(c.user)
	if err == nil && got != other.id {
		err = fmt.Errorf("the newest socket is %q, want %q", got, other.id)
	}
	if failed := c.publish(c.user, 5, one, other); failed != nil {
		return account{}, failed
	}
	a, failed := c.settle(c.user, one, other)
	return a, errors.Join(err, failed)
}

func stepCutBesides(c *cell) (account, error) {
	one, other := c.tabs[first], c.tabs[second]
	if err := c.cut(func() error { return c.publish(c.user, 20, one, other) }, one); err != nil {
		return account{}, stop(err)
	}
	return c.settle(c.user, other, one)
}

// stepOtherUser logs out and in as another user, for whom messages wait.
func stepOtherUser(c *cell) (account, error) {
	one, other, next := c.tabs[first], c.tabs[second], c.user+"-next"
	c.mu.Lock()
	connects, left := one.connects, one.id
	c.mu.Unlock()
	if err := c.driver.do(command{Do: "disconnect", Tab: first}); err != nil {
		return account{}, stop(err)
	}
	if err := c.until("the tab has left", func() string {
		if one.id != "" {
			return "it is connected"
		}
		return ""
	}); err != nil {
		return account{}, stop(err)
	}
	// The client may say so before the server knows.
	if err := c.gone(other, left); err != nil {
		return account{}, stop(err)
	}
	var refused error
	for range 10 {
		status, err := c.post("?queue=true", next, one)
		if err != nil {
			return account{}, err
		}
		if status != http.StatusAccepted {
			refused = fmt.Errorf("/sendPayload?queue=true answers %d", status)
		}
		if err := c.publish(c.user, 1, other); err != nil { // which the next user must not see
			return account{}, err
		}
	}
	if err := c.driver.do(command{Do: "connect", Tab: first}); err != nil {
		return account{}, stop(err)
	}
	if err := one.connected(connects + 1); err != nil {
		return account{}, stop(err)
	}
	if err := one.setUser(next); err != nil {
		return account{}, stop(err)
	}
	if err := c.publish(c.user, 5, other); err != nil {
		return account{}, err
	}
	if err := c.publish(next, 5, one); err != nil {
		return account{}, err
	}
	if err := c.sync(next, one); err != nil {
		return account{}, err
	}
	if err := c.sync(c.user, other); err != nil {
		return account{}, err
	}
	a, err := c.account()
	return a, errors.Join(refused, err)
}

// stepLeave: nobody is told a message was delivered once the tabs have left.
func stepLeave(c *cell) (account, error) {
	for _, name := range []string{first, second} {
		if err := c.driver.do(command{Do: "disconnect", Tab: name}); err != nil {
			return account{}, err
		}
	}
	for _, user := range []string{c.user, c.user + "-next"} {
		if err := retry(10*time.Millisecond, func() error {
			status, err := c.postBody("", []byte(fmt.Sprintf(`{"userId":%q,"topic":"left"}`, user)))
			if err == nil && status != http.StatusNotFound {
				err = fmt.Errorf("/sendPayload answers %d", status)
			}
			return err
		}); err != nil {
			return account{}, err
		}
	}
	return account{}, nil
}
