// A socket that comes back when it is lost.

const LONGEST_WAIT = 10; // seconds between two attempts

export class Connection {
  /**
   * path: gives the path and the query, but for the key. key: gives the key that the server wants.
   * check: a promise that the server may be asked again, after a socket that it did not take.
   * onMessage: what came. onLost: it was lost, or has been left; told before its state is.
   * onState: "connecting", "lost" or "stopped".
   */
  constructor({ path, key, check, onMessage, onLost, onState }) {
    Object.assign(this, { path, key, check, onMessage, onLost, onState });
    this.tries = 0;
    this.open = false;
  }

  start() {
    this.wanted = true;
    this.connect();
  }

  connect() {
    this.onState("connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const url = new URL(this.path(), `${scheme}://${location.host}`);
    if (this.key()) url.searchParams.set("auth_id", this.key());
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.onMessage(data);
    this.socket.onclose = () => this.lost();
  }

  /** The server has taken it. */
  taken() {
    this.open = true;
    this.tries = 0;
  }

  /** Does nothing while it closes. */
  send(message) {
    this.socket.send(message);
  }

  /** Without waiting until the other side agrees. */
  leave() {
    if (this.socket) {
      this.socket.onclose = this.socket.onmessage = null;
      this.socket.close();
    }
    this.lost();
  }

  lost() {
    const taken = this.open;
    this.open = false;
    this.onLost();
    clearTimeout(this.timer);
    if (!this.wanted) {
      this.onState("stopped");
      return;
    }
    const wait = Math.min(LONGEST_WAIT, 0.5 * 2 ** this.tries++);
    this.timer = setTimeout(() => this.again(taken), 1000 * wait);
    this.onState("lost");
  }

  async again(taken) {
    if (!taken) await this.check().catch(() => {}); // it is not there: connecting tells so, too
    if (this.wanted) this.connect();
  }

  /** It does not come back. last: a message before it closes by itself, or after so many seconds. */
  stop(last, seconds = 0) {
    this.wanted = false;
    clearTimeout(this.timer);
    if (this.open && last) {
      this.send(last);
      this.timer = setTimeout(() => this.leave(), 1000 * seconds);
    } else {
      this.leave();
    }
  }
}
