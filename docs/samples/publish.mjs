// Publishes one message and waits until the stream has it and until it is known what became of it.
//   npm install nats && node publish.mjs nats://127.0.0.1:4222 user_123 sub_456
import { connect, createInbox, headers, StringCodec } from "nats";

const [url, userId, submissionId] = process.argv.slice(2);
const text = StringCodec();
const nc = await connect({ servers: url });

const inbox = createInbox();
const receipts = nc.subscribe(inbox, { max: 1 });

const h = headers();
h.set("Nats-Msg-Id", `${submissionId}:ACCEPTED`); // the same for every try: stored once
h.set("Bridge-Receipt", inbox);
const body = text.encode(JSON.stringify({ userId, submissionId, status: "ACCEPTED" }));

// Publishing again is safe because of the id. It throws when no answer came within the time.
let ack;
for (let wait = 250; !ack; wait = Math.min(wait * 2, 10_000)) {
  try {
    ack = await nc.jetstream().publish("codewar.evaluationComplete", body, { headers: h, timeout: 5000 });
  } catch (err) {
    console.error(`not stored yet: ${err.message}`);
    await new Promise((done) => setTimeout(done, wait));
  }
}
if (!ack.duplicate) { // one that was stored before has had its receipt
  setTimeout(() => receipts.unsubscribe(), 10_000).unref(); // stored all the same
  for await (const receipt of receipts) console.log(text.decode(receipt.data));
}
await nc.drain();
