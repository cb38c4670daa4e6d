// A live view over WebRTC: one offer, one answer with all candidates in it, no signalling after that.

import { ApiError, closeDialog, openWebrtc } from './api.js';
import { PlayError, deadline, firstPicture } from './play-error.js';

/** ICE and DTLS together take well under a second where UDP gets through. */
const CONNECT_MS_MAX = 5_000;
/** After the connection stands: a key frame is on its way at once, the node has one in its ring. */
const PICTURE_MS_MAX = 6_000;
/** A short loss of connectivity heals by itself. */
const DISCONNECTED_MS_MAX = 4_000;

export class WebrtcPlayer {
  static transport = 'webrtc';
  static supported = () => typeof RTCPeerConnection === 'function';

  /** `onLost(error)` is called at most once, after `start` has resolved. */
  constructor(video, target, { onLost, onStage }) {
    this.video = video;
    this.target = target;
    this.onLost = onLost;
    this.onStage = onStage;
    this.abort = new AbortController();
    this.dialogId = '';
    this.lostTimer = 0;
  }

  /** Resolves at the first decoded picture. Rejects with [PlayError], or AbortError after `stop`. */
  async start() {
    const pc = this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const media = new MediaStream();
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = ({ track }) => media.addTrack(track);
    this.video.srcObject = media;

    await pc.setLocalDescription();
    this.onStage('opening');
    const answer = await this.#ask(pc.localDescription.sdp);
    this.dialogId = answer.dialogid;
    this.onStage('connecting');
    const picture = firstPicture(this.video);
    try {
      await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    } catch (cause) {
      throw new PlayError('bad answer', cause.message);
    }
    await this.#connected();
    this.onStage('waiting');
    this.video.play().catch(() => {});
    const limit = deadline(PICTURE_MS_MAX, this.abort.signal, () => new PlayError('no picture', 'WebRTC is connected but no picture could be decoded'));
    try { await Promise.race([picture, limit.promise]); } finally { limit.cancel(); }
    pc.onconnectionstatechange = () => this.#watch();
  }

  async #ask(sdp) {
    try {
      return await openWebrtc(this.target, sdp, this.abort.signal);
    } catch (cause) {
      throw cause instanceof ApiError ? PlayError.fromApi(cause) : cause;
    }
  }

  async #connected() {
    const { pc } = this;
    const limit = deadline(CONNECT_MS_MAX, this.abort.signal, () =>
      new PlayError('no route', `ICE ${pc.iceConnectionState} after ${CONNECT_MS_MAX / 1000} s`));
    const up = new Promise((resolve, reject) => {
      const check = () => {
        if (pc.connectionState === 'connected') resolve();
        if (pc.connectionState === 'failed') reject(new PlayError('no route', `ICE ${pc.iceConnectionState}`));
      };
      pc.onconnectionstatechange = check;
      check();
    });
    try { await Promise.race([up, limit.promise]); } finally { limit.cancel(); }
  }

  #watch() {
    clearTimeout(this.lostTimer);
    const { connectionState } = this.pc;
    const lost = () => this.onLost(new PlayError('interrupted', `WebRTC ${connectionState}`));
    if (connectionState === 'failed' || connectionState === 'closed') lost();
    if (connectionState === 'disconnected') this.lostTimer = setTimeout(lost, DISCONNECTED_MS_MAX);
  }

  /** Cumulative counters; what a rate is made of is left to the caller. */
  async sample() {
    const report = await this.pc.getStats();
    const out = { bytes: 0, framesDecoded: 0, framesDropped: 0, audioBytes: 0 };
    for (const s of report.values()) {
      if (s.type === 'inbound-rtp' && s.kind === 'video') {
        Object.assign(out, { framesDecoded: s.framesDecoded ?? 0, framesDropped: s.framesDropped ?? 0, lost: s.packetsLost,
          received: s.packetsReceived, freezes: s.freezeCount, jitterMs: (s.jitter ?? 0) * 1000,
          decoder: s.decoderImplementation, codec: codecName(report.get(s.codecId)) });
        out.bytes += s.bytesReceived ?? 0;
      } else if (s.type === 'inbound-rtp' && s.kind === 'audio') {
        out.audioBytes = s.bytesReceived ?? 0;
        out.bytes += s.bytesReceived ?? 0;
        if (s.bytesReceived) out.audioCodec = codecName(report.get(s.codecId));
      } else if (s.type === 'candidate-pair' && s.nominated && s.currentRoundTripTime !== undefined) {
        out.rttMs = s.currentRoundTripTime * 1000;
      }
    }
    return out;
  }

  stop() {
    this.abort.abort();
    clearTimeout(this.lostTimer);
    if (this.pc) {
      this.pc.onconnectionstatechange = null;
      this.pc.close();
    }
    this.video.srcObject = null;
    if (this.dialogId) closeDialog(this.dialogId);
  }
}

/** "video/H264" with profile 640028 → "H264 640028". */
function codecName(codec) {
  if (!codec) return undefined;
  const profile = /profile-level-id=([0-9a-f]{6})/i.exec(codec.sdpFmtpLine ?? '')?.[1];
  return [codec.mimeType.split('/')[1], profile].filter(Boolean).join(' ');
}
