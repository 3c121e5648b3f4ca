package sio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeAuth(t *testing.T) {
	t.Parallel()
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, tc := range map[string]struct {
		in      string
		want    Auth
		refused bool
	}{
		"nothing":           {in: ""},
		"empty":             {in: "{}"},
		"all":               {in: ` {"token":"t","pid":"p","offset":"1-2","resume":true,"session":"s","trace":true,"x":{"token":"y"}} `, want: Auth{"t", "p", "1-2", new(true), "s", true}},
		"resume declined":   {in: `{"resume":false}`, want: Auth{Resume: new(false)}},
		"texts, as in Java": {in: `{"resume":"true","trace":"true"}`, want: Auth{Resume: new(true), Trace: true}},
		"declined as text":  {in: `{"resume":"false","trace":"false"}`, want: Auth{Resume: new(false)}},
		"other types":       {in: `{"token":1,"pid":{},"offset":null,"resume":"yes","trace":1}`},
		"null":              {in: `{"resume":null,"trace":null}`},
		"other case":        {in: `{"Token":"t","PID":"p"}`},
		"escaped":           {in: `{"t\u006fken":"\ud800\"\\"}`, want: Auth{Token: "\ufffd\"\\"}},
		"last one counts":   {in: `{"token":"a","token":"b"}`, want: Auth{Token: "b"}},
		"members":           {in: members(maxAuthMembers)},
		"too many members":  {in: members(maxAuthMembers + 1), refused: true},
		"members of member": {in: `{"a":` + members(maxAuthMembers+1) + `}`},
		"deep":              {in: nested(maxAuthDepth)},
		"too deep":          {in: nested(maxAuthDepth + 1), refused: true},
		"brackets in text":  {in: `{"a":"` + strings.Repeat("[,", 100) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, refusal, err := decodeAuth([]byte(tc.in))
			if err != nil || (refusal != nil) != tc.refused {
				t.Fatalf("%v, refusal %v", err, refusal)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestConnectTooLarge: a CONNECT that exceeds a bound is answered by CONNECT_ERROR, which
// names the bound, on both transports and for each namespace. Admit is not called.
func TestConnectTooLarge(t *testing.T) {
	t.Parallel()
	const most = 2000
	long := `{"token":"` + strings.Repeat("x", most) + `"}`
	size := `{"data":{"code":"CONNECT_TOO_LARGE"},"message":"CONNECT is larger than 2000 bytes"}`
	for name, tc := range map[string]struct{ say, want string }{
		"size":               {"40" + long, "44" + size},
		"size, elsewhere":    {"40/admin," + long, "44/admin," + size},
		"size, long name":    {"40/" + strings.Repeat("x", most), "44" + size},
		"size, no namespace": {"40," + long, "44" + size},
		"members":            {"40{" + strings.Repeat(`"a":1,`, maxAuthMembers) + `"b":1}`, `44{"data":{"code":"CONNECT_TOO_LARGE"},"message":"auth of CONNECT has more than 64 members"}`},
		"depth":              {"40/admin,{\"a\":" + strings.Repeat("[", maxAuthDepth) + strings.Repeat("]", maxAuthDepth) + "}", `44/admin,{"data":{"code":"CONNECT_TOO_LARGE"},"message":"auth of CONNECT is nested more than 16 levels deep"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{admit: func(*Socket) *Refusal { t.Error("Admit was called"); return nil }}
			s, url := newServer(t, Config{MaxConnect: most}, r)
			c := dialWS(t, url, "")
			c.want("0{")
			c.send(tc.say)
			if got, err := c.read(); err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
			c.wantEnd()
			p := dialPolling(t, url)
			p.wantPost(tc.say)
			if _, got := p.get(); got != tc.want {
				t.Errorf("polling: got %q, want %q", got, tc.want)
			}
			waitFor(t, func() bool { return s.Stats().Drops[ReasonTooLarge] == 2 })
			if got := r.lines(); len(got) != 0 {
				t.Errorf("the Handler was told %q", got)
			}
		})
	}
}

// TestConnectLimit: a CONNECT of just the limit is accepted.
func TestConnectLimit(t *testing.T) {
	t.Parallel()
	const most = 2000
	_, url := newServer(t, Config{MaxConnect: most}, &recorder{})
	fill := func(frame string) string { return frame[:len(frame)-1] + strings.Repeat(" ", most-len(frame)) + "}" }
	joinWS(t, url, strings.TrimPrefix(fill(`40{"token":"x"}`), "40"))
	c := joinPolling(t, url, strings.TrimPrefix(fill(`40{"token":"x"}`), "40"))
	if status, _ := c.post("1"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

// FuzzConnect: whatever the data of a CONNECT is, decodeAuth accepts what encoding/json
// takes for an object, within the bounds, and the members mean what they mean to it.
func FuzzConnect(f *testing.F) {
	for _, in := range []string{
		`{"token":"t","pid":"p","offset":"1-2","resume":true,"trace":true}`, `{"resume":null}`, `{"Token":"t"}`, `{"token":"a","token":1}`,
		`{"a":[[[[1]]]],"b":{"c":"}"}}`, `null`, `[]`, `"x"`, `{"token":"\ud800"}`, ` { } `, `{"a":1e999}`, `{"a":"\\"}`, "", "{",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, refusal, err := decodeAuth(in)
		var members map[string]json.RawMessage
		object := len(in) == 0 || json.Unmarshal(in, &members) == nil && members != nil
		if refusal != nil {
			if got != (Auth{}) {
				t.Fatalf("refused, and %+v", got)
			}
			if n := len(members); n <= maxAuthMembers && !strings.Contains(refusal.Message, "nested") && strings.Count(string(in), ":") <= maxAuthMembers {
				t.Fatalf("refused with %d members: %s", n, refusal.Message)
			}
			return
		}
		if (err == nil) != object {
			t.Fatalf("error %v, an object for encoding/json: %v", err, object)
		}
		if err != nil {
			return
		}
		if len(members) > maxAuthMembers {
			t.Fatalf("%d members", len(members))
		}
		value := func(name string) (v any) { _ = json.Unmarshal(members[name], &v); return v }
		want := Auth{}
		want.Token, _ = value("token").(string)
		want.PID, _ = value("pid").(string)
		want.Offset, _ = value("offset").(string)
		want.Trace = fmt.Sprint(value("trace")) == "true"
		if resume := fmt.Sprint(value("resume")); resume == "true" || resume == "false" {
			want.Resume = new(resume == "true")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzArguments: decodeArray gives the elements that encoding/json gives, or refuses the
// array for their number.
func FuzzArguments(f *testing.F) {
	for _, in := range []string{`["e",1,{"a":[1,2]}]`, `[ ]`, `[[],[]]`, `null`, `{}`, ` [ "a\"," , 1.50 ] `, `["a]"]`, "", "[" + strings.Repeat("1,", maxArguments) + "1]"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, ok := decodeArray(in)
		var want []json.RawMessage
		array := json.Unmarshal(in, &want) == nil && want != nil
		if ok != (array && len(want) <= maxArguments) {
			t.Fatalf("accepted %v, for encoding/json %v with %d elements", ok, array, len(want))
		}
		if ok {
			if diff := cmp.Diff(append([]json.RawMessage{}, want...), got); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
