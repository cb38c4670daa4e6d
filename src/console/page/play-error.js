// Why a view did not come about, or ended.

import { Code } from './api.js';

/** Answers that speak of the device or the viewer's rights: another transport would meet them again. */
const NOT_THE_TRANSPORT = new Set([Code.NotFound, Code.Offline, Code.Timeout, Code.Busy, Code.BadToken, Code.Forbidden, Code.NoPermission]);

/** The stages that the node names at the start of its message. */
const STAGES = ['no answer', 'rejected', 'bad answer', 'no connection', 'no RTP', 'foreign SSRC', 'no PSM', 'no PS',
  'no key frame', 'unsupported codec', 'ended by device', 'device lost', 'the device is offline'];

export class PlayError extends Error {
  /** `stage` is a key of the dictionary under `stage.`; `fallback` = another transport may do better. */
  constructor(stage, message = '', { fallback = true, code = 0 } = {}) {
    super(message);
    this.stage = stage;
    this.code = code;
    this.fallback = fallback;
  }

  static fromApi(error) {
    const stage = STAGES.find((s) => error.message.startsWith(s));
    const fallback = !stage && error.code !== 0 && !NOT_THE_TRANSPORT.has(error.code);
    const named = stage ?? (error.code === Code.Offline ? 'the device is offline' : error.code === 0 ? 'unreachable' : 'refused');
    return new PlayError(named, error.message, { fallback, code: error.code });
  }
}

/** Resolves at the first decoded picture of `video`; never rejects. */
export function firstPicture(video) {
  return new Promise((resolve) => {
    if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && video.videoWidth > 0) return resolve();
    const done = () => { if (video.videoWidth > 0) { video.removeEventListener('loadeddata', done); resolve(); } };
    video.addEventListener('loadeddata', done);
    video.requestVideoFrameCallback?.(() => resolve());
  });
}

/** Rejects with `error` after `ms`, or with an AbortError when `signal` fires. `cancel` ends the wait. */
export function deadline(ms, signal, makeError) {
  let cancel;
  const promise = new Promise((_, reject) => {
    const timer = setTimeout(() => reject(makeError()), ms);
    const abort = () => reject(new DOMException('stopped', 'AbortError'));
    signal.addEventListener('abort', abort, { once: true });
    cancel = () => { clearTimeout(timer); signal.removeEventListener('abort', abort); };
  });
  promise.catch(() => {});
  return { promise, cancel };
}
