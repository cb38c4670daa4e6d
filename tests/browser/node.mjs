// What the tests ask of the node without a browser: signing in, sessions, and streams held open.

import { createHash } from 'node:crypto';

const sha256 = (text) => createHash('sha256').update(text).digest('hex');

export class Node {
  constructor(base) { this.base = base; }

  async call(method, path, body) {
    const response = await fetch(`${this.base}/bvcsp/v1${path}`, {
      method,
      headers: { ...(this.token && { Authorization: this.token }), 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const answer = await response.json();
    if (answer.code !== 0) throw new Error(`${method} ${path}: code ${answer.code} ${answer.msg}`);
    return answer.data;
  }

  /** A call of Gantry's own API. */
  async gantry(method, path, body) {
    const response = await fetch(`${this.base}/gantry/v1${path}`, { method, headers: { Authorization: this.token, 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path}: HTTP ${response.status} ${await response.text()}`);
    return response.status === 204 ? null : response.json();
  }

  async login(username, password) {
    const data = await this.call('POST', '/auth/login', { username, password_encrypted: `SHA256:${sha256(`${username}_${password}`)}` });
    this.token = data.token;
  }

  /** Channels of devices that are online, once there are `count` of them. */
  async channels(count, timeoutMs) {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const devices = await this.call('POST', '/pu/list', { page: 0, pageSize: 200, needStatus: true, filter: {} });
      const found = devices.filter((d) => Number(d.status) === 1)
        .flatMap((d) => (d.channels ?? []).map((c) => ({ puid: d.id, index: c.index, name: c.name })));
      if (found.length >= count) return found;
      if (Date.now() > until) throw new Error(`${found.length} channels online after ${timeoutMs} ms, ${count} are needed`);
      await new Promise((r) => setTimeout(r, 200));
    }
  }

  url({ puid, index }, ext) {
    return `${this.base}/live/${puid}/${index}.${ext}?token=${encodeURIComponent(this.token)}`;
  }

  /** Watches a stream over plain HTTP so that it runs; resolves at its first bytes to a function that leaves it. */
  async hold(channel) {
    const stop = new AbortController();
    const response = await fetch(this.url(channel, 'flv'), { signal: stop.signal });
    if (!response.ok) throw new Error(`HTTP ${response.status} for ${channel.puid}`);
    const reader = response.body.getReader();
    const first = await reader.read();
    if (first.done) throw new Error('the stream ended before it began');
    const drain = (async () => { for (;;) if ((await reader.read()).done) return; })().catch(() => {});
    return async () => { stop.abort(); await drain; };
  }

  /** Resolves when nobody watches any more. */
  async quiet(timeoutMs = 10_000) {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const open = await this.call('POST', '/dialog/list', { page: 0, pageSize: 200, filter: {} });
      if (!open?.length) return;
      if (Date.now() > until) throw new Error(`${open.length} sessions are still open after ${timeoutMs} ms`);
      await new Promise((r) => setTimeout(r, 50));
    }
  }
}
