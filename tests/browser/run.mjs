// Plays a node's cameras in a real browser, through the web page and beside it, and measures how soon.
//
// Starts nothing but the browser. From the environment:
//   BASE_URL        the node, e.g. http://127.0.0.1:9780 (a loopback address: WebRTC needs a secure context)
//   ADMIN_PASSWORD  of the user admin
//   CHROMIUM        the browser's program
//   GANTRY, SIP_ADDRESS, DEVICE_PASSWORD  Gantry's program, where the node takes SIP, and the password of devices, for simulated
//                   devices beside the demo's (default: left out)
//   RUNS            measured views per transport, cold and warm each (default 5)
//   LIMIT_FACTOR    what the limits below are multiplied by (default 1; a debug build on a busy machine needs more)
//   COLD_WAIT_MS    after the last viewer left, until the stream has ended (the node's media.linger_s, and a little)
//   OUT             folder for screenshots and result.json (default: none are written)
//
// Exit code: 0 all passed, 1 something failed.

import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

import { certificates } from './certificates.mjs';
import { Node } from './node.mjs';
import { panels } from './panels.mjs';
import { mpegtsPlays, vendorPlays, whepPlays } from './players.mjs';
import { bigTree, recorder, told } from './told.mjs';

const { BASE_URL, ADMIN_PASSWORD, CHROMIUM, OUT } = process.env;
const RUNS = Number(process.env.RUNS ?? 5);
const LIMIT_FACTOR = Number(process.env.LIMIT_FACTOR ?? 1);
const COLD_WAIT_MS = Number(process.env.COLD_WAIT_MS ?? 500);
/** Milliseconds from the click to the first decoded picture, of the median. */
const LIMITS = { webrtc: { cold: 1000, warm: 450 }, fmp4: { cold: 900, warm: 300 }, flv: { cold: 900, warm: 300 } };
const PLAY_MS_MAX = 25_000;
/** From the click to the first row of a level of a lower platform. */
const LEVEL_MS_MAX = 200;
/** How long a view is watched to see whether its counters grow. */
const WATCH_MS = 3000;

if (!BASE_URL || !ADMIN_PASSWORD || !CHROMIUM) {
  console.error('BASE_URL, ADMIN_PASSWORD and CHROMIUM must be set');
  process.exit(2);
}

const node = new Node(BASE_URL);
const results = { checks: [], timings: {} };
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});

let failed = 0;
async function check(name, body) {
  const start = Date.now();
  try {
    const detail = await body();
    results.checks.push({ name, ok: true, ms: Date.now() - start, detail });
    console.log(`ok    ${name}${detail ? `: ${detail}` : ''}`);
  } catch (error) {
    failed++;
    results.checks.push({ name, ok: false, ms: Date.now() - start, detail: error.message });
    console.log(`FAIL  ${name}: ${error.message}`);
    await shot(name).catch(() => {});
  }
}

function need(condition, message) { if (!condition) throw new Error(message); }

// ---- the page ----

let page;
const problems = [];
/** The page's sockets of positions and of notices: what comes to them can be added to. */
const sockets = {};

async function openPage({ init, lang = 'en-GB' } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 860 }, locale: lang });
  const opened = await context.newPage();
  opened.on('pageerror', (error) => problems.push(`${error.message} ${error.stack ?? ''}`));
  opened.on('console', (message) => message.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(message.text()) && problems.push(message.text()));
  if (init) await opened.addInitScript(init);
  await opened.routeWebSocket(/\/ws\/(gpsdata|notices)\?/, (socket) => {
    socket.connectToServer();
    if (!init) sockets[/gpsdata/.test(socket.url()) ? 'positions' : 'notices'] = socket;
  });
  await opened.goto(BASE_URL);
  await opened.waitForSelector('#login-password:visible');
  return opened;
}

async function signIn(on, password = ADMIN_PASSWORD) {
  await on.fill('#login-user', 'admin');
  await on.fill('#login-password', password);
  await on.click('[data-testid=login-submit]');
}

async function shot(name) {
  if (OUT && page) await page.screenshot({ path: `${OUT}/${name.replace(/\W+/g, '-')}.png` });
}

/** Counters of the first view, of this moment. */
const tile = (on = page) => on.evaluate(async () => (await window.gantry.sample())[0]);

/** Clicks a channel and waits for its picture in the first view. */
async function play(channel, transport, on = page) {
  await on.selectOption('[data-testid=transport]', transport);
  const row = on.getByTestId(`channel-${channel.puid}-${channel.index}`);
  if (!(await row.count())) {
    await on.fill('[data-testid=search]', channel.puid);
    const device = on.getByTestId(`device-${channel.puid}`);
    if ((await device.getAttribute('aria-expanded')) !== 'true') await device.click();
  }
  await row.click();
  const until = Date.now() + PLAY_MS_MAX;
  for (;;) {
    const [first] = await on.evaluate(() => window.gantry.tiles());
    if (first.state === 'playing') return first;
    if (first.state === 'failed' || first.state === 'retrying') {
      throw new Error(`${transport} failed: ${first.attempts.map((a) => `${a.transport}: ${a.stage} ${a.message}`).join('; ')}`);
    }
    need(Date.now() < until, `no picture over ${transport} in ${PLAY_MS_MAX} ms, state ${first.state}`);
    await new Promise((r) => setTimeout(r, 20));
  }
}

async function closeAll(on = page) {
  await on.evaluate(() => window.gantry.closeAll());
  await node.quiet();
}

const pause = (ms) => new Promise((r) => setTimeout(r, ms));

/** What ffprobe says of the stream, or null where it is not installed or the node has no such output. */
async function probe(channel) {
  try {
    const { stdout } = await promisify(execFile)('ffprobe', ['-v', 'error', '-of', 'json', '-show_streams', '-analyzeduration', '3000000', node.url(channel, 'flv')], { timeout: 20_000 });
    return JSON.parse(stdout).streams.find((s) => s.codec_type === 'video') ?? null;
  } catch {
    return null;
  }
}

/** Plays by one transport and checks what arrives. */
async function plays(channel, transport, truth) {
  const opened = await play(channel, transport);
  need(opened.transport === transport, `played by ${opened.transport}`);
  const before = await tile();
  await page.getByTestId('tile-1').hover();
  await page.getByTestId('tile-1').getByTestId('sound').click();
  await pause(WATCH_MS);
  const after = await tile();
  const frames = after.framesDecoded - before.framesDecoded;
  const sound = after.audioBytes - before.audioBytes;
  await shot(`playing-${transport}`);
  await page.getByTestId('tile-1').getByTestId('sound').click();
  await closeAll();
  need(frames >= (WATCH_MS / 1000) * 5, `only ${frames} frames decoded in ${WATCH_MS} ms`);
  need(after.width >= 16 && after.height >= 16, `size is ${after.width} x ${after.height}`);
  if (truth) need(after.width === truth.width && after.height === truth.height, `size is ${after.width} x ${after.height}, ffprobe says ${truth.width} x ${truth.height}`);
  need(sound > 0, 'no sound arrived');
  return `${after.width} x ${after.height}, ${frames} frames and ${sound} bytes of sound in ${WATCH_MS} ms, ${after.codec} + ${after.audioCodec}, lost ${after.lost ?? '-'}`;
}

/** UDP is blocked: the answer loses its candidates on the way. */
function withoutCandidates() {
  const original = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    return original.call(this, { ...description, sdp: description.sdp.replace(/a=candidate:.*\r?\n/g, '') });
  };
}

async function fallsBack(channel) {
  const blocked = await openPage({ init: withoutCandidates, lang: 'zh-CN' });
  try {
    await signIn(blocked);
    await blocked.waitForSelector('#app:visible');
    await blocked.waitForFunction(() => window.gantry.devices().length > 0);
    const opened = await play(channel, 'auto', blocked);
    need(opened.transport === 'fmp4', `played by ${opened.transport}`);
    need(opened.attempts[0]?.stage === 'no route', `said ${JSON.stringify(opened.attempts)}`);
    const said = await blocked.getByTestId('tile-1').getByTestId('because').textContent();
    need(/WebRTC/.test(said), `the page says "${said}"`);
    if (OUT) await blocked.screenshot({ path: `${OUT}/fallback.png` });
    return said;
  } finally {
    await blocked.context().close();
    await node.quiet();
  }
}

// ---- how soon ----

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)];

async function measure(channels, transport, kind) {
  const times = [];
  for (let run = 0; run < RUNS; run++) {
    const channel = channels[run % channels.length];
    if (kind === 'cold') await pause(COLD_WAIT_MS);
    const leave = kind === 'warm' ? await node.hold(channel) : null;
    try {
      times.push((await play(channel, transport)).firstFrameMs);
    } finally {
      await page.evaluate(() => window.gantry.closeAll());
      await leave?.();
      await node.quiet();
    }
  }
  const sorted = [...times].sort((a, b) => a - b);
  const out = { p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), limit: LIMITS[transport][kind] * LIMIT_FACTOR, runs: times };
  (results.timings[transport] ??= {})[kind] = out;
  need(out.p50 <= out.limit, `p50 ${out.p50} ms is over ${out.limit} ms (${times.join(' ')})`);
  return `p50 ${out.p50} ms, p95 ${out.p95} ms of ${RUNS} (limit ${out.limit} ms)`;
}

// ---- the run ----

async function run() {
  if (OUT) mkdirSync(OUT, { recursive: true });
  await node.login('admin', ADMIN_PASSWORD);
  const all = await node.channels(1, 30_000);
  const truths = new Map();
  for (const channel of all.slice(0, 8)) truths.set(channel, await probe(channel));
  const h264 = all.filter((c) => !truths.get(c) || truths.get(c).codec_name === 'h264').slice(0, 4);
  const h265 = all.find((c) => truths.get(c)?.codec_name === 'hevc');
  need(h264.length > 0, 'no channel with H.264');
  await node.quiet();

  await check('the page refuses a wrong password', async () => {
    page = await openPage();
    await signIn(page, `${ADMIN_PASSWORD}x`);
    await page.waitForSelector('[data-testid=login-error]:visible', { timeout: 5000 });
    await shot('sign-in');
  });
  await check('the page signs in and lists the devices', async () => {
    await signIn(page);
    await page.waitForSelector('#app:visible', { timeout: 5000 });
    await page.waitForFunction((n) => window.gantry.devices().flatMap((d) => d.channels ?? []).length >= n, all.length, { timeout: 10_000 });
    await page.getByTestId('layout-1').click();
    return `${all.length} channels`;
  });

  const [channel] = h264;
  for (const transport of ['webrtc', 'fmp4', 'flv']) {
    await check(`the page plays over ${transport}`, () => plays(channel, transport, truths.get(channel)));
  }
  await check('the page says why it fell back when UDP is blocked', () => fallsBack(channel));
  for (const [name, player] of [['mpegts.js over WebSocket-FLV', mpegtsPlays], ['the WHEP client whip-whep', whepPlays], ['the player @besovideo/webrtc-player', vendorPlays]]) {
    await check(`${name}, from npm, plays`, async () => {
      const got = await player(browser, node, channel, WATCH_MS);
      await node.quiet();
      need(got.frames >= (WATCH_MS / 1000) * 5, `only ${got.frames} frames in ${WATCH_MS} ms`);
      need(got.sound > 0, 'no sound arrived');
      return `${got.frames} frames, ${got.sound} bytes of sound`;
    });
  }
  if (h265) {
    await check('an H.265 channel plays or says that this browser cannot', async () => {
      const said = await play(h265, 'auto').then((x) => `played by ${x.transport}`, (error) => {
        need(/browser codec/.test(error.message), error.message);
        return 'said so';
      });
      await closeAll();
      return said;
    });
  }
  await check('views play side by side', async () => {
    await page.getByTestId('layout-4').click();
    for (const c of h264) await page.getByTestId(`channel-${c.puid}-${c.index}`).click();
    await page.waitForFunction((n) => window.gantry.tiles().filter((x) => x.state === 'playing').length === n, h264.length, { timeout: PLAY_MS_MAX });
    await page.click('#all-stats');
    await pause(WATCH_MS);
    await shot('four-views');
    await page.click('#all-stats');
    await closeAll();
    await page.getByTestId('layout-1').click();
    return `${h264.length} cameras`;
  });

  const cameras = Object.fromEntries(all.map((c) => [c.name, c]));
  if (cameras.Gate && cameras.Hall && cameras.Van) {
    await panels({ page, check, need, node, cameras, shot });
    await closeAll();
    await told({ page, check, need, node, cameras, shot });
    await closeAll();
  }
  const { GANTRY: program, SIP_ADDRESS: sip, DEVICE_PASSWORD: password } = process.env;
  if (program && sip) {
    if (password) {
      await recorder({ page, check, need, node, program, sip, sockets, shot });
      await closeAll();
      await bigTree({ page, check, need, node, program, sip, limitMs: LEVEL_MS_MAX * LIMIT_FACTOR, shot });
    }
    await certificates({ page, check, need, shot, program, sip });
  }

  for (const transport of ['webrtc', 'fmp4', 'flv']) {
    for (const kind of ['cold', 'warm']) await check(`first picture, ${transport}, ${kind}`, () => measure(h264, transport, kind));
  }
  await check('the page had no error of its own', async () => need(problems.length === 0, problems.join('; ')));
  await check('signing out ends the session', async () => {
    await page.click('[data-testid=logout]');
    await page.waitForSelector('#login-password:visible', { timeout: 5000 });
  });
}

try {
  await run();
} catch (error) {
  failed++;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await browser.close();
}
if (OUT) writeFileSync(`${OUT}/result.json`, JSON.stringify(results, null, 2));
console.log(JSON.stringify(results.timings));
console.log(failed ? `${failed} failed` : `all ${results.checks.length} passed`);
process.exit(failed ? 1 : 0);
