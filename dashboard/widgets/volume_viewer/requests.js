// Asking Python for data, one request at a time.

const ASK_AT_ONCE = 2;
const UNANSWERED_MS = 10000;
const LOST_MS = 2000;

class Requests {
  /** `send({names, turn})` asks. Python answers each turn once and says so with its number. */
  constructor(send) {
    this.send = send;
    this.coming = new Set();
    this.turn = 0;
    this.until = 0;
    this.pending = false;
  }

  /** Python says what it is sending, and which turn it has answered. */
  expect(names, answered, has) {
    const now = performance.now();
    for (const name of names) if (!has(name)) this.coming.add(name);
    if (names.length) {
      this.pending = true;
      this.until = now + UNANSWERED_MS;
    } else if ((answered ?? 0) === this.turn) {
      // Sent in an earlier run. What was replaced before the browser had it on the page is lost, and asked for again.
      this.until = Math.min(this.until, now + LOST_MS);
    }
  }

  arrived(name) {
    this.coming.delete(name);
  }

  /** Asks for the first of `names`, unless something is on its way. With nothing to ask for, says so once. */
  ask(names) {
    if (this.coming.size && performance.now() < this.until) return;
    if (!names.length && !this.pending) return;
    this.pending = names.length > 0;
    this.coming = new Set(names.slice(0, ASK_AT_ONCE));
    this.until = performance.now() + UNANSWERED_MS;
    // Unlike any number that an earlier visit to this page has used.
    this.turn = Date.now() + Math.random();
    this.send({ names: [...this.coming], turn: this.turn });
  }
}
