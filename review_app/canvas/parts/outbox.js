// Decisions on their way: kept until the server says that the ledger has them, sent again until it does.

const RESEND_MS = 2500;

class Outbox {
  constructor(desk, who, changed) {
    this.key = `tailsight-outbox/${desk}/${who}`;
    this.changed = changed;
    this.send = null;
    this.waiting = [];
    this.wanted = new Set();
    this.since = null; // when the oldest unanswered message left
    this.restored = false;
    try { this.waiting = JSON.parse(sessionStorage.getItem(this.key) || "[]"); } catch { this.waiting = []; }
    this.restored = this.waiting.length > 0;
    this.timer = setInterval(() => { if (this.waiting.length || this.wanted.size) this.flush(); }, RESEND_MS);
  }

  // Ids, labels and notes only; never image data.
  store() {
    try {
      if (this.waiting.length) sessionStorage.setItem(this.key, JSON.stringify(this.waiting));
      else sessionStorage.removeItem(this.key);
    } catch { /* storage may be switched off; the copy in memory is still sent again */ }
  }

  add(decision) {
    this.waiting.push(decision);
    this.store();
    this.flush();
  }

  flush() {
    if (!this.send) return;
    if (this.since === null) this.since = performance.now();
    this.send({ outbox: this.waiting, want: [...this.wanted] });
    this.changed();
  }

  // Drops what the server has answered; returns [decision, answer] pairs in the order they were made.
  settle(answers) {
    const settled = this.waiting.filter((d) => d.request_id in answers).map((d) => [d, answers[d.request_id]]);
    if (settled.length) {
      this.waiting = this.waiting.filter((d) => !(d.request_id in answers));
      this.store();
    }
    this.since = this.waiting.length ? performance.now() : null;
    return settled;
  }

  late() { return this.waiting.length > 0 && this.since !== null && performance.now() - this.since > 3000; }
  close() { clearInterval(this.timer); }
}
