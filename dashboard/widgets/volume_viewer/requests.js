// Asking Python for data, one request at a time, and fetching what it offers.

const ASK_AT_ONCE = 3; // one for each plane
const UNANSWERED_MS = 10000;
const LOST_MS = 2000;
const NAME_BYTES = 32;

class Requests {
  /**
   * `send({names, turn})` asks; Python answers each turn once, with addresses, and says so with its number.
   * `take(name, buffer)` gets what has arrived: its name, and the data behind that.
   */
  constructor(send, take) {
    this.send = send;
    this.take = take;
    this.coming = new Set();
    this.loading = new Set();
    this.turn = 0;
    this.until = 0;
    this.pending = false;
    this.leaving = new AbortController();
  }

  /** Python says where data lies, and which turn it has answered. */
  expect(addresses, answered, has) {
    const now = performance.now();
    const names = Object.keys(addresses).filter((name) => !has(name));
    if (names.length) {
      this.pending = true;
      this.until = now + UNANSWERED_MS;
    } else if ((answered ?? 0) === this.turn) {
      // Offered in an earlier run. If that never came, as when runs follow each other fast, it is asked for again.
      this.until = Math.min(this.until, now + LOST_MS);
    }
    for (const name of names) {
      this.coming.add(name);
      if (!this.loading.has(name)) this.load(name, addresses[name]);
    }
  }

  async load(name, address) {
    this.loading.add(name);
    const buffer = await this.fetch(address);
    this.loading.delete(name);
    if (!buffer || new TextDecoder().decode(buffer.slice(0, NAME_BYTES)) !== name) return;
    this.coming.delete(name);
    this.take(name, buffer);
  }

  /** Null where it cannot be had: the page was left, or the file is gone and will be asked for again. */
  async fetch(address) {
    try {
      // Nothing of a patient stays in the browser's cache. All of it as a range: a plain answer would be compressed,
      // which takes the server longer than sending it.
      const headers = { Range: "bytes=0-" };
      const answer = await fetch(address, { cache: "no-store", headers, signal: this.leaving.signal });
      return answer.ok ? await answer.arrayBuffer() : null;
    } catch {
      return null;
    }
  }

  /** Asks for the first of `names`, unless something is on its way. With nothing to ask for, says so once. */
  ask(names) {
    if (this.coming.size && (this.loading.size || performance.now() < this.until)) return;
    if (!names.length && !this.pending) return;
    this.pending = names.length > 0;
    this.coming = new Set(names.slice(0, ASK_AT_ONCE));
    this.until = performance.now() + UNANSWERED_MS;
    // Unlike any number that an earlier visit to this page has used.
    this.turn = Date.now() + Math.random();
    this.send({ names: [...this.coming], turn: this.turn });
  }
}
