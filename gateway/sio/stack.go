package sio

// roomy is called first of all by goroutines that begin a connection. They begin with a
// small stack and soon need eight kilobytes of it; growing twice or three times with
// something on it to move costs a tenth of a connect, growing once with nothing on it
// does not. The garbage collector takes back what an idle connection does not need.
//
//go:noinline
func roomy() byte {
	var room [5 << 10]byte
	return room[len(room)-1]
}
