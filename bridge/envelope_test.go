package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeRequest(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	tests := []struct {
		name, body           string
		user, topic, payload string
		code                 string
	}{
		{name: "plain", body: `{"userId":"u","topic":"t","a":1}`, user: "u", topic: "t", payload: `{"a":1}`},
		{name: "routing last", body: `{"a":1,"b":[{"userId":2}],"userId":"u","topic":"t"}`, user: "u", topic: "t", payload: `{"a":1,"b":[{"userId":2}]}`},
		{name: "routing in the middle", body: `{"a":1,"userId":"u","b":2,"topic":"t","c":3}`, user: "u", topic: "t", payload: `{"a":1,"b":2,"c":3}`},
		{name: "spelling kept", body: `{"z":1.50e+3,"userId":"u","a":"\u00e9\/","topic":"t","n":0.10}`, user: "u", topic: "t", payload: `{"z":1.50e+3,"a":"\u00e9\/","n":0.10}`},
		{name: "white space kept", body: "{ \"userId\":\"u\",\n \"a\" : 1,\n \"b\":2, \"topic\":\"t\" }\n", user: "u", topic: "t", payload: "{ \"a\" : 1,\n \"b\":2 }"},
		{name: "payload empty", body: ` { "userId" : "u" , "topic" : "t" } `, user: "u", topic: "t", payload: `{}`},
		{name: "number user", body: `{"userId":42,"topic":"t"}`, user: "42", topic: "t", payload: `{}`},
		{name: "number spelled with a fraction", body: `{"userId":42.0,"topic":"t"}`, user: "42", topic: "t", payload: `{}`},
		{name: "number spelled with an exponent", body: `{"userId":1e21,"topic":"t"}`, user: "1e+21", topic: "t", payload: `{}`},
		{name: "minus zero", body: `{"userId":-0,"topic":"t"}`, user: "0", topic: "t", payload: `{}`},
		{name: "64-bit number", body: `{"userId":18446744073709551615,"topic":"t"}`, user: "18446744073709551615", topic: "t", payload: `{}`},
		{name: "escaped key", body: `{"\u0075serId":"u","topic":"t"}`, user: "u", topic: "t", payload: `{}`},
		{name: "unicode user", body: `{"userId":"Zoë 漢字","topic":"a.b:c-d_e"}`, user: "Zoë 漢字", topic: "a.b:c-d_e", payload: `{}`},

		{name: "empty body", body: ``, code: CodeInvalidJSON},
		{name: "not JSON", body: `hello`, code: CodeInvalidJSON},
		{name: "cut off", body: `{"userId":"u","topic":"t","a":`, code: CodeInvalidJSON},
		{name: "two values", body: `{"userId":"u","topic":"t"}{}`, code: CodeInvalidJSON},
		{name: "trailing comma", body: `{"userId":"u","topic":"t",}`, code: CodeInvalidJSON},
		{name: "array", body: `[1]`, code: CodeNotAnObject},
		{name: "string", body: `"x"`, code: CodeNotAnObject},
		{name: "null", body: `null`, code: CodeNotAnObject},
		{name: "no user", body: `{"topic":"t"}`, code: CodeMissingFields},
		{name: "empty user", body: `{"userId":"","topic":"t"}`, code: CodeMissingFields},
		{name: "null user", body: `{"userId":null,"topic":"t"}`, code: CodeMissingFields},
		{name: "no topic", body: `{"userId":"u"}`, code: CodeMissingFields},
		{name: "empty topic", body: `{"userId":"u","topic":""}`, code: CodeMissingFields},
		{name: "object as user", body: `{"userId":{},"topic":"t"}`, code: CodeInvalidUserID},
		{name: "true as user", body: `{"userId":true,"topic":"t"}`, code: CodeInvalidUserID},
		{name: "long user", body: `{"userId":"` + long + `","topic":"t"}`, code: CodeInvalidUserID},
		{name: "control character in user", body: `{"userId":"a\nb","topic":"t"}`, code: CodeInvalidUserID},
		{name: "infinite user", body: `{"userId":1e999,"topic":"t"}`, code: CodeInvalidUserID},
		{name: "number as topic", body: `{"userId":"u","topic":1}`, code: CodeInvalidTopic},
		{name: "reserved topic", body: `{"userId":"u","topic":"disconnect"}`, code: CodeInvalidTopic},
		{name: "wildcard topic", body: `{"userId":"u","topic":"a.*"}`, code: CodeInvalidTopic},
		{name: "space in topic", body: `{"userId":"u","topic":"a b"}`, code: CodeInvalidTopic},
		{name: "long topic", body: `{"userId":"u","topic":"` + long[:129] + `"}`, code: CodeInvalidTopic},
		{name: "user twice", body: `{"userId":"a","userId":"b","topic":"t"}`, code: CodeDuplicateKey},
		{name: "user twice, escaped", body: `{"userId":"a","user\u0049d":"b","topic":"t"}`, code: CodeDuplicateKey},
		{name: "other key twice", body: `{"userId":"a","topic":"t","x":1,"x":2}`, code: CodeDuplicateKey},
		{name: "invalid UTF-8", body: "{\"userId\":\"a\xff\",\"topic\":\"t\"}", code: CodeInvalidUTF8},
		{name: "10,000 deep", body: `{"userId":"a","topic":"t","x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, code: CodeTooDeep},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := DecodeRequest([]byte(tt.body))
			if tt.code != "" {
				var invalid *InvalidError
				if !errors.As(err, &invalid) || invalid.Code != tt.code {
					t.Fatalf("got %v, want code %s", err, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(e.User) != tt.user || e.Topic != tt.topic || string(e.Payload) != tt.payload {
				t.Errorf("got %q %q %s, want %q %q %s", e.User, e.Topic, e.Payload, tt.user, tt.topic, tt.payload)
			}
		})
	}
}

func TestDecodeManyKeys(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"userId":"u","topic":"t"`)
	for i := range 100 {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	if _, err := DecodeRequest([]byte(b.String() + `}`)); err != nil {
		t.Error(err)
	}
	for _, again := range []string{"k3", "k13", "k14", "k50", "k99", "topic"} { // before, at and after the change to a map
		_, err := DecodeRequest([]byte(b.String() + `,"` + again + `":0}`))
		if invalid, _ := errors.AsType[*InvalidError](err); invalid == nil || invalid.Code != CodeDuplicateKey || invalid.Position != b.Len()+1 {
			t.Errorf("%s twice: got %+v, want a duplicate key at %d", again, invalid, b.Len()+1)
		}
	}
}

// TestInvalidTellsWhere: an error names the member that is wrong, or the byte of the
// text at which it stops being JSON, and what was expected.
func TestInvalidTellsWhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body, code, field string
		position          int // -1: none
		expected          string
	}{
		{``, CodeInvalidJSON, "", 0, "a value"},
		{`hello`, CodeInvalidJSON, "", 0, "a value"},
		{`  tru`, CodeInvalidJSON, "", 2, "true"},
		{`[]`, CodeNotAnObject, "", -1, "an object"},
		{`[1,]`, CodeInvalidJSON, "", 3, "a value"},
		{`[1 2]`, CodeInvalidJSON, "", 3, "a comma or ]"},
		{`{"userId":"u","topic":"t"}{}`, CodeInvalidJSON, "", 26, "the end of the text"},
		{`{"userId":"u","topic":"t",}`, CodeInvalidJSON, "", 26, "a key in double quotes"},
		{`{"userId":"u","topic":"t","a":}`, CodeInvalidJSON, "", 30, "a value"},
		{`{"userId":"u","topic":"t","a" 1}`, CodeInvalidJSON, "", 30, "a colon"},
		{`{"userId":"u","topic":"t","a":1 "b":2}`, CodeInvalidJSON, "", 32, "a comma or }"},
		{`{"userId":"u","topic":"t","a":{"b":1 2}}`, CodeInvalidJSON, "", 37, "a comma or }"},
		{`{'userId':"u"}`, CodeInvalidJSON, "", 1, "a key in double quotes"},
		{`{"a":"b`, CodeInvalidJSON, "", 7, "the end of a string"},
		{"{\"a\":\"b\n\"}", CodeInvalidJSON, "", 7, `an escape such as \n for a control character`},
		{`{"a":"\x"}`, CodeInvalidJSON, "", 7, `an escape: \ and one of "\/bfnrt, or u and four hexadecimal digits`},
		{`{"a":"\u12g4"}`, CodeInvalidJSON, "", 7, `an escape: \ and one of "\/bfnrt, or u and four hexadecimal digits`},
		{`{"a":-}`, CodeInvalidJSON, "", 6, "a digit"},
		{`{"a":1.}`, CodeInvalidJSON, "", 7, "a digit"},
		{`{"a":01}`, CodeInvalidJSON, "", 6, "a comma or }"},
		{`{"a":1e+}`, CodeInvalidJSON, "", 8, "a digit"},
		{"{\"a\":\"\xff\"}", CodeInvalidUTF8, "", 6, "UTF-8"},
		{`{"a":` + strings.Repeat("[", 600) + `}`, CodeTooDeep, "", 5 + MaxDepth, ""},
		{`{"topic":"t"}`, CodeMissingFields, "userId", -1, userIDRule},
		{`{"userId":"u"}`, CodeMissingFields, "topic", -1, topicRule},
		{`{"userId":null,"topic":"t"}`, CodeMissingFields, "userId", -1, userIDRule},
		{`{"userId":true,"topic":"t"}`, CodeInvalidUserID, "userId", -1, userIDRule},
		{`{"userId":"u","topic":"a b"}`, CodeInvalidTopic, "topic", -1, topicRule},
		{`{"userId":"u","topic":7}`, CodeInvalidTopic, "topic", -1, topicRule},
		{`{"userId":"bridge:canary:x","topic":"t"}`, CodeInvalidUserID, "userId", -1, ""},
	} {
		_, err := DecodeRequest([]byte(tt.body))
		e, _ := errors.AsType[*InvalidError](err)
		if e == nil {
			t.Errorf("%q is valid", tt.body)
			continue
		}
		position := -1
		if e.Positioned {
			position = e.Position
		}
		if e.Code != tt.code || e.Field != tt.field || position != tt.position || e.Expected != tt.expected {
			t.Errorf("%.60q: got %+v, want %+v", tt.body, *e, tt)
		}
	}
}

// TestUnknownOptions: a publisher's option with an unknown value makes a dead letter:
// ignoring it would deliver in another way than asked for.
func TestUnknownOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header map[string][]string
		field  string // empty: valid
	}{
		{nil, ""},
		{map[string][]string{"Bridge-Offline": {"drop"}, "Bridge-Ack": {"client"}, "Bridge-Receipt": {"x"}, "X-Mine": {"maybe"}}, ""},
		{map[string][]string{"Bridge-Offline": {"keep"}}, "Bridge-Offline"},
		{map[string][]string{"Bridge-Offline": {"Drop"}}, "Bridge-Offline"},
		{map[string][]string{"Bridge-Offline": {""}}, "Bridge-Offline"},
		{map[string][]string{"Bridge-Offline": {"drop", "keep"}}, "Bridge-Offline"},
		{map[string][]string{"Bridge-Ack": {"server"}}, "Bridge-Ack"},
		{map[string][]string{"Bridge-Ack": {"client", ""}}, "Bridge-Ack"},
	} {
		b := newBatch([]Message{{Topic: "t", Body: []byte(`{"userId":"u"}`), Header: tt.header}}, 0)
		switch {
		case tt.field == "" && len(b.invalid) > 0:
			t.Errorf("%v: dead: %v", tt.header, b.invalid[0].why)
		case tt.field != "" && (len(b.invalid) == 0 || b.invalid[0].why.Code != CodeInvalidOption || b.invalid[0].why.Field != tt.field):
			t.Errorf("%v: is no dead letter with %s", tt.header, tt.field)
		}
	}
}

func TestDecodeTopicOfSubject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, subject, body, code string
	}{
		{"absent in the body", "submissionUpdate", `{"userId":"u"}`, ""},
		{"null in the body", "submissionUpdate", `{"userId":"u","topic":null}`, ""},
		{"agrees", "a.b", `{"userId":"u","topic":"a.b"}`, ""},
		{"disagrees", "a", `{"userId":"u","topic":"b"}`, CodeTopicMismatch},
		{"subject is no topic", "connect", `{"userId":"u"}`, CodeInvalidTopic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := Offset{Epoch: 1, Seq: 2}
			e, err := decode(&Message{Topic: tt.subject, Body: []byte(tt.body), Offset: at}, nil)
			var invalid *InvalidError
			if errors.As(err, &invalid) && invalid.Code == tt.code {
				return
			}
			if err != nil || tt.code != "" || e.Topic != tt.subject || e.Offset != at {
				t.Errorf("got %+v, %v; want code %q", e, err, tt.code)
			}
		})
	}
}

// FuzzDecodeEnvelope holds the splitter against encoding/json: both agree on
// what is an object, and the payload is that object without the two keys.
func FuzzDecodeEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"userId":"u","topic":"t","a":1}`, `{"a":[1,{"b":null}],"userId":42,"topic":"t"}`, ` { "userId" : "u" , "topic":"t", "x" : "\ud800" } `,
		`[]`, `{"userId":1e5,"topic":"t","userId":2}`, "{\"userId\":\"\xff\"}", `{"":0,"userId":"u","topic":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		e, err := DecodeRequest(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		var all map[string]json.RawMessage
		isObject := json.Unmarshal(body, &all) == nil && all != nil
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || invalid.Code == "" || invalid.Message == "" {
				t.Fatalf("an error without a code: %v", err)
			}
			if (invalid.Code == CodeInvalidJSON || invalid.Code == CodeNotAnObject) && isObject && utf8.Valid(body) {
				t.Fatalf("%s, but encoding/json reads it", invalid.Code)
			}
			return
		}
		if !isObject {
			t.Fatal("accepted what encoding/json refuses")
		}
		if !ValidUserID(string(e.User)) || !ValidTopic(e.Topic) {
			t.Fatalf("accepted user %q, topic %q", e.User, e.Topic)
		}
		var rest map[string]json.RawMessage
		if err := json.Unmarshal(e.Payload, &rest); err != nil {
			t.Fatalf("payload %q: %v", e.Payload, err)
		}
		delete(all, "userId")
		delete(all, "topic")
		if len(rest) != len(all) {
			t.Fatalf("payload %q has %d keys, want %d", e.Payload, len(rest), len(all))
		}
		for k, v := range all {
			if !bytes.Equal(rest[k], v) {
				t.Fatalf("key %q is %s, want %s", k, rest[k], v)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{80, 20_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			m := &Message{Topic: "submissionUpdate", Body: []byte(`{"userId":"user_123","topic":"submissionUpdate","submissionId":"sub_456","status":"IN_PROGRESS","progress":{"testCase":5,"totalTestCases":15},"note":"` + strings.Repeat("x", size) + `"}`)}
			b.SetBytes(int64(len(m.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(m, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
