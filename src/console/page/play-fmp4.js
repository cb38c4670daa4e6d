// A live view as fragmented MP4 over a WebSocket, played through Media Source Extensions.
//
// The first bytes are an initialisation segment (ftyp, moov), the rest fragments (moof, mdat), cut into messages
// anywhere. A new initialisation segment may come at any time (the device changed its resolution or codec).

import { ApiError, liveUrl, whyNot } from './api.js';
import { PlayError, deadline, firstPicture } from './play-error.js';

/** From the click: the node may first have to wake the device, and gives up by itself before this. */
const PICTURE_MS_MAX = 20_000;
/** Bytes waiting for the source buffer. At it: the view is ended, the browser cannot keep up. */
const QUEUE_BYTES_MAX = 16_000_000;
/** Bytes of an initialisation segment. At it: not an fMP4 stream. */
const INIT_BYTES_MAX = 65_536;
/** Seconds behind the newest picture beyond which the view jumps forward, and where it lands. */
const BEHIND_S_MAX = 2;
const BEHIND_S = 0.2;
/** Seconds behind beyond which it plays a little faster instead. */
const BEHIND_S_CATCH_UP = 0.6;
/** Seconds of played media kept, and how much more may gather before it is thrown away. */
const KEEP_S = 5;
const EVICT_S = 15;

export class Fmp4Player {
  static transport = 'fmp4';
  static supported = () => typeof MediaSource === 'function';

  constructor(video, target, { onLost, onStage }) {
    this.video = video;
    this.target = target;
    this.onLost = onLost;
    this.onStage = onStage;
    this.abort = new AbortController();
    this.queue = [];
    this.queuedBytes = 0;
    this.bytes = 0;
    this.init = new Uint8Array(0);
    this.source = null;
    this.buffer = null;
    this.codecs = '';
    this.running = false;
  }

  async start() {
    this.onStage('opening');
    const limit = deadline(PICTURE_MS_MAX, this.abort.signal, () => new PlayError('no picture', `nothing decoded in ${PICTURE_MS_MAX / 1000} s`));
    const failed = new Promise((_, reject) => { this.fail = reject; });
    failed.catch(() => {});
    try {
      await Promise.race([this.#openSource(), limit.promise]);
      this.#openSocket();
      await Promise.race([firstPicture(this.video), failed, limit.promise]);
      this.running = true;
    } finally {
      limit.cancel();
    }
  }

  #openSource() {
    this.source = new MediaSource();
    this.url = URL.createObjectURL(this.source);
    this.video.src = this.url;
    this.video.onerror = () => this.#end(new PlayError('decode error', this.video.error?.message ?? ''));
    return new Promise((resolve) => this.source.addEventListener('sourceopen', resolve, { once: true }));
  }

  #openSocket() {
    const socket = this.socket = new WebSocket(liveUrl('ws', this.target, 'mp4'));
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.onStage('waiting');
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') return;
      this.bytes += data.byteLength;
      try { this.#take(new Uint8Array(data)); } catch (error) { this.#end(error); }
    };
    socket.onclose = async ({ reason, wasClean }) => {
      if (this.abort.signal.aborted) return;
      if (reason) return this.#end(PlayError.fromApi(new ApiError(1, reason)));
      if (this.running || this.bytes > 0) return this.#end(new PlayError('interrupted', wasClean ? 'the stream ended' : 'the connection was lost'));
      const why = await whyNot(this.target, 'mp4', this.abort.signal);
      this.#end(why ? PlayError.fromApi(why) : new PlayError('no websocket', 'the WebSocket was refused; a proxy on the way may not let it through'));
    };
  }

  #end(error) {
    if (this.abort.signal.aborted) return;
    if (this.running) this.onLost(error);
    else this.fail(error);
  }

  /** Splits initialisation segments from fragments. */
  #take(chunk) {
    const startsInit = chunk.length >= 8 && boxType(chunk, 4) === 'ftyp';
    if (this.buffer && !startsInit && this.init.length === 0) return this.#push(chunk);
    this.init = concat(this.init, chunk);
    const end = initLength(this.init);
    if (end === null) {
      if (this.init.length > INIT_BYTES_MAX) throw new PlayError('bad stream', 'no initialisation segment');
      return;
    }
    const whole = this.init;
    this.init = new Uint8Array(0);
    this.#useCodecs(codecsOf(whole.subarray(0, end)));
    this.#push(whole);
  }

  #useCodecs(codecs) {
    const type = `video/mp4; codecs="${codecs.join(',')}"`;
    this.codecs = codecs.join(', ');
    if (!MediaSource.isTypeSupported(type)) {
      throw new PlayError('browser codec', codecs.join(', '), { fallback: false });
    }
    if (!this.buffer) {
      this.buffer = this.source.addSourceBuffer(type);
      this.buffer.addEventListener('updateend', () => this.#pump());
      this.buffer.addEventListener('error', () => this.#end(new PlayError('decode error', 'the fragment was not accepted')));
    } else if (type !== this.type) {
      this.queue.push({ changeType: type });
    }
    this.type = type;
  }

  #push(chunk) {
    this.queuedBytes += chunk.length;
    if (this.queuedBytes > QUEUE_BYTES_MAX) throw new PlayError('too slow', 'this computer cannot keep up with the stream');
    this.queue.push(chunk);
    this.#pump();
  }

  #pump() {
    const { buffer, source } = this;
    if (!buffer || buffer.updating || source.readyState !== 'open') return;
    this.#chase();
    if (this.#evict()) return;
    let next = this.queue.shift();
    while (next?.changeType) { buffer.changeType(next.changeType); next = this.queue.shift(); }
    if (!next) return;
    // Everything that waits goes in as one piece: an append costs more than its bytes.
    const rest = [];
    while (this.queue.length && !this.queue[0].changeType) rest.push(this.queue.shift());
    const piece = rest.length ? concat(next, ...rest) : next;
    this.queuedBytes -= piece.length;
    try {
      buffer.appendBuffer(piece);
    } catch (cause) {
      if (cause.name !== 'QuotaExceededError') throw cause;
      this.queue.unshift(piece);
      this.queuedBytes += piece.length;
      if (!this.#evict(true)) this.#end(new PlayError('too slow', 'the browser\'s buffer is full'));
    }
  }

  /** Keeps the picture near the newest one. */
  #chase() {
    const { video } = this;
    const ranges = video.buffered;
    if (!ranges.length) return;
    const start = ranges.start(ranges.length - 1);
    const end = ranges.end(ranges.length - 1);
    if (video.currentTime < start) {
      video.currentTime = start;
      video.play().catch(() => {});
      return;
    }
    const behind = end - video.currentTime;
    if (behind > BEHIND_S_MAX) video.currentTime = Math.max(start, end - BEHIND_S);
    video.playbackRate = behind > BEHIND_S_CATCH_UP ? 1.1 : 1;
    if (video.paused && !this.abort.signal.aborted) video.play().catch(() => {});
  }

  /** Throws played media away; true if the buffer is now busy with that. */
  #evict(now = false) {
    const { buffer, video } = this;
    if (!buffer.buffered.length) return false;
    const start = buffer.buffered.start(0);
    const until = video.currentTime - KEEP_S;
    if (until <= start || (!now && until - start < EVICT_S)) return false;
    buffer.remove(start, until);
    return true;
  }

  async sample() {
    return { ...elementCounters(this.video), bytes: this.bytes, codec: this.codecs.split(', ')[0] || undefined,
      audioCodec: this.codecs.split(', ')[1], bufferedS: bufferedAhead(this.video) };
  }

  stop() {
    this.abort.abort();
    this.socket?.close();
    this.video.onerror = null;
    this.video.removeAttribute('src');
    this.video.load();
    if (this.url) URL.revokeObjectURL(this.url);
  }
}

/** Counters that a media element keeps itself. */
export function elementCounters(video) {
  const quality = video.getVideoPlaybackQuality();
  return {
    framesDecoded: video.webkitDecodedFrameCount ?? quality.totalVideoFrames,
    framesDropped: quality.droppedVideoFrames,
    audioBytes: video.webkitAudioDecodedByteCount ?? 0,
  };
}

export function bufferedAhead(video) {
  const { buffered } = video;
  return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - video.currentTime) : 0;
}

// ---- ISO base media boxes (ISO/IEC 14496-12, 4.2) ----

function concat(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  parts.reduce((at, p) => { out.set(p, at); return at + p.length; }, 0);
  return out;
}

function boxType(bytes, at) { return String.fromCharCode(...bytes.subarray(at, at + 4)); }

/** Yields `{type, start, end}` of each whole box between `from` and `to`; `start` is behind the header. */
function* boxes(bytes, from, to) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from; at + 8 <= to;) {
    const size = view.getUint32(at);
    if (size < 8 || at + size > to) return;
    yield { type: boxType(bytes, at + 4), start: at + 8, end: at + size };
    at += size;
  }
}

/** Where the moov ends, or null while it is not whole. */
function initLength(bytes) {
  for (const box of boxes(bytes, 0, bytes.length)) if (box.type === 'moov') return box.end;
  return null;
}

function child(bytes, parent, ...path) {
  let at = parent;
  for (const name of path) {
    at = at && [...boxes(bytes, at.start, at.end)].find((b) => b.type === name);
  }
  return at ?? null;
}

/** RFC 6381 names of the tracks of an initialisation segment, picture first. */
export function codecsOf(bytes) {
  const moov = [...boxes(bytes, 0, bytes.length)].find((b) => b.type === 'moov');
  const names = [];
  for (const trak of boxes(bytes, moov.start, moov.end)) {
    if (trak.type !== 'trak') continue;
    const stsd = child(bytes, trak, 'mdia', 'minf', 'stbl', 'stsd');
    // Full-box header and entry count stand before the first entry (14496-12, 8.5.2).
    const entry = stsd && [...boxes(bytes, stsd.start + 8, stsd.end)][0];
    if (entry) names.push(codecName(bytes, entry));
  }
  if (!names.length) throw new PlayError('bad stream', 'no track in the initialisation segment');
  return names.sort((a, b) => Number(/^(mp4a|[Oo]pus)/.test(a)) - Number(/^(mp4a|[Oo]pus)/.test(b)));
}

function codecName(bytes, entry) {
  // Visual sample entries are 78 bytes long before their boxes, audio ones 28 (14496-12, 12.1.3 and 12.2.3).
  const config = (type, skip) => child(bytes, { start: entry.start + skip, end: entry.end }, type);
  const hex = (n) => n.toString(16).padStart(2, '0');
  if (entry.type === 'avc1' || entry.type === 'avc3') {
    const avcc = config('avcC', 78);
    return avcc ? entry.type + '.' + [1, 2, 3].map((i) => hex(bytes[avcc.start + i])).join('') : entry.type;
  }
  if (entry.type === 'hvc1' || entry.type === 'hev1') {
    const hvcc = config('hvcC', 78);
    return hvcc ? hevcName(entry.type, bytes.subarray(hvcc.start, hvcc.end)) : entry.type;
  }
  if (entry.type === 'mp4a') return 'mp4a.40.2';
  if (entry.type === 'Opus') return 'opus';
  return entry.type;
}

/** ISO/IEC 14496-15, annex E.3. */
function hevcName(type, c) {
  const profile = ['', 'A', 'B', 'C'][c[1] >> 6] + (c[1] & 31);
  let compatibility = 0;
  const flags = new DataView(c.buffer, c.byteOffset + 2, 4).getUint32(0);
  for (let bit = 0; bit < 32; bit++) if (flags & (1 << bit)) compatibility |= 1 << (31 - bit);
  const constraints = Array.from(c.subarray(6, 12));
  while (constraints.length && constraints.at(-1) === 0) constraints.pop();
  const tier = (c[1] & 32) ? 'H' : 'L';
  return [type, profile, (compatibility >>> 0).toString(16), tier + c[12], ...constraints.map((b) => b.toString(16))].join('.');
}
