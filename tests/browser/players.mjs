// Players that this project did not make, each in a blank page on the node's origin. All come from npm and answer
// `{frames, sound}`: pictures decoded and bytes of sound that arrived while it was watched for `watchMs`.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const resolve = createRequire(import.meta.url).resolve;

/** Runs `body` in a blank page whose peer connections are kept in `window.connections`. */
async function inPage(browser, base, body) {
  const context = await browser.newContext({ bypassCSP: true, viewport: { width: 800, height: 600 } });
  try {
    const page = await context.newPage();
    await page.addInitScript(() => {
      window.connections = [];
      window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...args) { super(...args); window.connections.push(this); }
      };
      /** Sums over all connections, also those that are closed in between. */
      window.inbound = async () => {
        const sum = { frames: 0, sound: 0 };
        for (const pc of window.connections) {
          for (const s of (await pc.getStats()).values()) {
            if (s.type !== 'inbound-rtp') continue;
            if (s.kind === 'video') sum.frames += s.framesDecoded ?? 0;
            else sum.sound += s.bytesReceived ?? 0;
          }
        }
        return sum;
      };
    });
    // Not the console's page: it would bring its own player and keys.
    await page.goto(`${base}/healthz`);
    return await body(page);
  } finally {
    await context.close();
  }
}

export const mpegtsPlays = (browser, node, channel, watchMs) => inPage(browser, node.base, async (page) => {
  await page.addScriptTag({ path: resolve('mpegts.js') });
  const got = await page.evaluate(async ({ url, watchMs }) => {
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    const errors = [];
    const player = window.mpegts.createPlayer({ type: 'flv', isLive: true, url }, { enableStashBuffer: false });
    player.on(window.mpegts.Events.ERROR, (...e) => errors.push(e.slice(0, 2).join(' ')));
    player.attachMediaElement(video);
    player.load();
    await player.play();
    const before = video.getVideoPlaybackQuality().totalVideoFrames;
    await new Promise((r) => setTimeout(r, watchMs));
    const frames = video.getVideoPlaybackQuality().totalVideoFrames - before;
    const sound = video.webkitAudioDecodedByteCount;
    player.destroy();
    return { frames, sound, errors };
  }, { url: node.url(channel, 'flv').replace(/^http/, 'ws'), watchMs });
  if (got.errors.length) throw new Error(got.errors.join('; '));
  return got;
});

export const whepPlays = (browser, node, channel, watchMs) => inPage(browser, node.base, async (page) => {
  const source = readFileSync(resolve('whip-whep/whep.js'), 'utf8').replace(/export class WHEPClient/, 'window.WHEPClient = class WHEPClient');
  await page.addScriptTag({ content: source });
  return page.evaluate(async ({ url, token, watchMs }) => {
    const pc = new RTCPeerConnection();
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addTransceiver('video', { direction: 'recvonly' });
    const video = document.createElement('video');
    video.muted = video.autoplay = true;
    document.body.append(video);
    const media = new MediaStream();
    pc.ontrack = ({ track }) => { media.addTrack(track); video.srcObject = media; };
    const client = new window.WHEPClient();
    await client.view(pc, url, token);
    await new Promise((r) => setTimeout(r, watchMs));
    const got = await window.inbound();
    await client.stop();
    return got;
  }, { url: `${node.base}/whep/${channel.puid}/${channel.index}`, token: node.token, watchMs });
});

/** The bvcsp vendor's own player, over WebRTC. */
export const vendorPlays = (browser, node, channel, watchMs) => inPage(browser, node.base, async (page) => {
  await page.addScriptTag({ path: fileURLToPath(new URL('node_modules/@besovideo/webrtc-player/dist/main.browser.js', import.meta.url)) });
  return page.evaluate(async ({ id, index, token, watchMs }) => {
    const container = document.createElement('div');
    container.style.cssText = 'width: 640px; height: 360px';
    document.body.append(container);
    let failure = '';
    const { instance } = window.bvPlayer.PuPlayer({
      container, puOption: { id, index }, token, type: 'webrtc', muted: true, locale: 'en',
      defaultMediaOption: { audio: true, video: true },
      onConnectedFailed: (...why) => { failure = `connection failed ${JSON.stringify(why)}`; },
      onTokenFail: () => { failure = 'token refused'; },
    });
    await instance.open(true);
    await new Promise((r) => setTimeout(r, watchMs));
    if (failure) throw new Error(failure);
    const got = await window.inbound();
    await instance.close();
    return got;
  }, { id: channel.puid, index: channel.index, token: node.token, watchMs });
});
