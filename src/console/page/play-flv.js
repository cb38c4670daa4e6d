// A live view as FLV over a WebSocket, played by mpegts.js. The player is fetched when it is first needed.

import { ApiError, liveUrl, whyNot } from './api.js';
import { bufferedAhead, elementCounters } from './play-fmp4.js';
import { PlayError, deadline, firstPicture } from './play-error.js';

const SCRIPT = '/console/vendor/mpegts-1.8.2.js';
/** As for fMP4: the node may first have to wake the device. */
const PICTURE_MS_MAX = 20_000;

/** For so long after a view was closed the library may still throw. */
const CLOSING_MS = 5_000;

let loading = null;
let closedAt = -Infinity;

/** Closed before its socket is open, the library throws at nobody when the browser tells it that the socket failed. */
addEventListener('error', (event) => {
  if (event.filename?.endsWith(SCRIPT) && performance.now() - closedAt < CLOSING_MS) event.preventDefault();
});

function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = SCRIPT;
    script.onload = () => {
      window.mpegts.LoggingControl.enableAll = false;
      resolve(window.mpegts);
    };
    script.onerror = () => { loading = null; reject(new PlayError('unreachable', SCRIPT)); };
    document.head.append(script);
  });
  return loading;
}

export class FlvPlayer {
  static transport = 'flv';
  static supported = () => typeof MediaSource === 'function';

  constructor(video, target, { onLost, onStage }) {
    this.video = video;
    this.target = target;
    this.onLost = onLost;
    this.onStage = onStage;
    this.abort = new AbortController();
    this.info = {};
    this.running = false;
  }

  async start() {
    this.onStage('opening');
    const limit = deadline(PICTURE_MS_MAX, this.abort.signal, () => new PlayError('no picture', `nothing decoded in ${PICTURE_MS_MAX / 1000} s`));
    try {
      const mpegts = await Promise.race([library(), limit.promise]);
      const failed = this.#play(mpegts);
      await Promise.race([firstPicture(this.video), failed, limit.promise]);
      this.running = true;
    } finally {
      limit.cancel();
    }
  }

  /** Starts the player; the promise rejects if it fails before the first picture. */
  #play(mpegts) {
    const player = this.player = mpegts.createPlayer(
      { type: 'flv', isLive: true, url: liveUrl('ws', this.target, 'flv') },
      { enableWorker: false, enableStashBuffer: false, liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 2,
        liveBufferLatencyMinRemain: 0.3, autoCleanupSourceBuffer: true, autoCleanupMaxBackwardDuration: 20, autoCleanupMinBackwardDuration: 5 });
    const failed = new Promise((_, reject) => {
      player.on(mpegts.Events.ERROR, async (type, detail, info) => reject(await this.#explain(mpegts, type, detail, info)));
      player.on(mpegts.Events.LOADING_COMPLETE, async () => reject(await this.#explain(mpegts, mpegts.ErrorTypes.NETWORK_ERROR, 'the stream ended')));
    });
    failed.catch((error) => { if (this.running && !this.abort.signal.aborted) this.onLost(error); });
    player.on(mpegts.Events.MEDIA_INFO, (info) => { this.info = info; this.onStage('waiting'); });
    player.on(mpegts.Events.STATISTICS_INFO, (info) => { this.speedKBps = info.speed; });
    player.attachMediaElement(this.video);
    player.load();
    player.play()?.catch?.(() => {});
    return failed;
  }

  async #explain(mpegts, type, detail, info) {
    if (type === mpegts.ErrorTypes.NETWORK_ERROR) {
      if (this.running) return new PlayError('interrupted', info?.msg ?? detail);
      const why = await whyNot(this.target, 'flv', this.abort.signal);
      return why instanceof ApiError ? PlayError.fromApi(why) : new PlayError('no websocket', info?.msg ?? detail);
    }
    const codec = detail === mpegts.ErrorDetails.MEDIA_CODEC_UNSUPPORTED || /codec/i.test(info?.msg ?? '');
    return new PlayError(codec ? 'browser codec' : 'decode error', info?.msg ?? detail, { fallback: !codec });
  }

  async sample() {
    const { videoCodec, audioCodec } = this.info;
    // mpegts.js tells a speed, not a total.
    return { ...elementCounters(this.video), bitsPerSecond: (this.speedKBps ?? 0) * 8192, codec: videoCodec, audioCodec,
      bufferedS: bufferedAhead(this.video) };
  }

  stop() {
    this.abort.abort();
    if (this.player) closedAt = performance.now();
    this.player?.destroy();
    this.player = null;
  }
}
